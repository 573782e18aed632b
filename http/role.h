/* http/role.h - what a client may do. Each role may also do what those before it may: a route's
 * permission is the lowest that it takes. @thread any */
#pragma once
#include "engine/base/bytes.h"

enum role { ROLE_NONE, ROLE_READER, ROLE_WRITER, ROLE_OPERATOR, ROLE_ADMIN, ROLES };

const char *role_name(enum role role); /* "writer" */
/* false: no role that can be given; "none" is none. */
bool role_of(struct tally_slice text, enum role *role);

/* Who asks. A name has at most this many bytes of UTF-8 without control characters, as an actor. */
#define PRINCIPAL_NAME_BYTES_MAX 128
struct principal {
    enum role role;
    const char *by; /* "jwt", "key": how it is known; "": nobody was asked for credentials */
    char name[PRINCIPAL_NAME_BYTES_MAX + 1]; /* "": not known */
    int64_t expires_s;                       /* of a token; 0: never */
    unsigned reading;                        /* of the key files, that said so */
};
bool role_principal_set(struct principal *principal, struct tally_slice name); /* false: none */
