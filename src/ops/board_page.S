/* board_page.S: the page of `hone board` and its chart library, as files lie at build time, inside the program. */
#define HOLD(name, path) \
    .global name; .global name##_end; \
    .balign 16; name: .incbin path; name##_end: .byte 0

    .section .rodata
    HOLD(hone_board_html, BOARD_HTML)
    HOLD(hone_board_chart_js, BOARD_CHART_JS)
    HOLD(hone_board_chart_css, BOARD_CHART_CSS)
    .section .note.GNU-stack,"",%progbits
