/* http/document_pointer.h - where in a JSON document a number stands that is none. @thread any */
#pragma once
#include "engine/base/bytes.h"

#define DOCUMENT_POINTER_LEN_MAX 95

/* The JSON pointer of the first number that is no int64, in a document that is sound up to it; "":
 * there is none, or the pointer would be too long. */
void document_pointer_of_number(struct tally_slice json,
        char pointer[static DOCUMENT_POINTER_LEN_MAX + 1]);
