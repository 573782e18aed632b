/* tests/integration/suite.c - see the header. */
#include "tests/integration/suite.h"

#include <stdlib.h>

int suite_main(const char *name, void (*add)(TCase *tcase))
{
    Suite *suite = suite_create(name);
    TCase *tcase = tcase_create("server");
    SRunner *runner;
    int failed;

    tcase_set_timeout(tcase, 120);
    add(tcase);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
