// browser.h: a headless Chromium that tests look at pages with (over its debugging pipe).
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

typedef struct browser { pid_t pid; int to, from; int id; char *session; char *profile; } browser;

bool browser_present(void);                                     // false: there is no chromium, the test skips
void browser_open(browser *b, int width, int height);
void browser_close(browser *b);
void browser_go(browser *b, const char *url);
json_t *browser_ask(browser *b, const char *expression);        // its value; promises are awaited; json_decref() it
double browser_number(browser *b, const char *expression);
bool browser_wait(browser *b, const char *expression, double seconds);  // until it is true
void browser_drag(browser *b, double x, double y);             // a press, a move to the right by 150, a release: zooms a chart
void browser_picture(browser *b, const char *path);             // PNG
