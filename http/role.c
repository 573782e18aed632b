/* http/role.c - see role.h. */
#include "http/role.h"

static const char *const names[ROLES] = {
        [ROLE_NONE] = "none",
        [ROLE_READER] = "reader",
        [ROLE_WRITER] = "writer",
        [ROLE_OPERATOR] = "operator",
        [ROLE_ADMIN] = "admin",
};

const char *role_name(enum role role)
{
    return names[role];
}

bool role_of(struct tally_slice text, enum role *role)
{
    for (unsigned i = ROLE_READER; i < ROLES; i++) {
        if (tally_slice_equal(text, tally_slice_string(names[i]))) {
            *role = (enum role)i;
            return true;
        }
    }
    return false;
}

bool role_principal_set(struct principal *principal, struct tally_slice name)
{
    if (name.len == 0 || name.len > PRINCIPAL_NAME_BYTES_MAX || !tally_utf8_valid(name)) {
        return false;
    }
    for (size_t i = 0; i < name.len; i++) {
        if (name.data[i] < 0x20 || name.data[i] == 0x7f) {
            return false;
        }
    }
    memcpy(principal->name, name.data, name.len);
    principal->name[name.len] = '\0';
    return true;
}
