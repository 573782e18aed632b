/* tests/integration/suite.h - the main of a test program against real servers. */
#pragma once
#include <check.h>

/* Runs the tests that `add` puts into the one case of the suite; the exit status. */
int suite_main(const char *name, void (*add)(TCase *tcase));
