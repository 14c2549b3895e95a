// config_keys.h: the keys of config.json by families.def; private to config.c and config_keys.c.
#pragma once
#include "model/config.h"

// Reads / writes one row of the family's key table.
hone_status hone_config_read_key(hone_config *config, const hone_key_row *row, const json_t *json, const char *where);
hone_status hone_config_write_key(const hone_config *config, const hone_key_row *row, json_t *json);

// What the family's config.json calls a field; NULL where it has no key for it.
const char *hone_config_key_of(const hone_config *config, size_t field);
#define HONE_KEY_OF(config, field) hone_config_key_of(config, offsetof(hone_config, field))

enum { HONE_CONFIG_UNSET = -1 };   // a DERIVED size before it is derived
