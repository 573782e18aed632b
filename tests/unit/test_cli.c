/* tests/unit/test_cli.c - option tables, settings as options, exit statuses
 * (apps/cli.c). */
#include "apps/cli.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ARGS_MAX 16

static const char *const forms[] = {"text", "json", NULL};
static bool flag;
static const char *text;
static int64_t number;
static int choice;
static struct cli_list list;
static const struct cli_option options[] = {CLI_OPT_BROKERS,
        CLI_OPT_FLAG('e', "exit", &flag, "a flag"),
        CLI_OPT_TEXT('t', "topic", &text, "T", "a text"),
        CLI_OPT_INT('c', "count", &number, 1, 100, "N", "a number"),
        CLI_OPT_CHOICE('o', "output", &choice, forms, "F", "a choice"),
        CLI_OPT_LIST('l', "list", &list, "L", "a list"), CLI_OPT_END};
static struct cli cli;
static char folder[] = "/tmp/test_cli_XXXXXX";

static void setup(void)
{
    flag = false;
    text = NULL;
    number = 0;
    choice = 0;
    list.count = 0;
    cli = (struct cli){.verb = "try",
            .usage = "try",
            .about = "Tries.",
            .examples = "  tally try\n",
            .options = options,
            .args_max = 2};
    /* Away from any tally.yaml; what is printed is not looked at. */
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(chdir(folder), 0);
    dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDERR_FILENO);
}

static void teardown(void)
{
    cli_end(&cli);
    ck_assert_int_eq(chdir("/"), 0);
    rmdir(folder);
}

static int begin(const char *const *arguments)
{
    static char storage[ARGS_MAX][128];
    static char *argv[ARGS_MAX + 1];
    int argc = 0;

    snprintf(storage[argc], sizeof storage[0], "try");
    argv[argc] = storage[argc];
    for (argc = 1; *arguments; arguments++, argc++) {
        snprintf(storage[argc], sizeof storage[0], "%s", *arguments);
        argv[argc] = storage[argc];
    }
    argv[argc] = NULL;
    return cli_begin(&cli, argc, argv);
}
#define BEGIN(...) begin((const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

START_TEST(fills_every_kind)
{
    ck_assert_int_eq(BEGIN("-e", "one", "-t", "topic", "--count=7", "-ojson", "-l", "a", "-lb",
                             "two"),
            CLI_CONTINUE);
    ck_assert(flag);
    ck_assert_str_eq(text, "topic");
    ck_assert_int_eq(number, 7);
    ck_assert_int_eq(choice, 1);
    ck_assert_uint_eq(list.count, 2);
    ck_assert_str_eq(list.items[1], "b");
    ck_assert_int_eq(cli.arg_count, 2);
    ck_assert_str_eq(cli.args[0], "one");
    ck_assert_str_eq(cli.args[1], "two");
}
END_TEST

START_TEST(takes_settings_as_options)
{
    ck_assert_int_eq(BEGIN("--state.dir", "/x", "-b", "broker:1", "--kafka.insecure", "one",
                             "--app.id=me", "-X", "fetch.wait.max.ms=20"),
            CLI_CONTINUE);
    ck_assert_str_eq(cli.config.state_dir, "/x");
    ck_assert_str_eq(cli.config.kafka_servers, "broker:1");
    ck_assert_str_eq(cli.config.app_id, "me");
    ck_assert(cli.config.kafka_insecure);
    ck_assert_uint_eq(cli.config.kafka_properties.count, 1);
    ck_assert_int_eq(cli.arg_count, 1);
}
END_TEST

START_TEST(tells_switches_from_arguments)
{
    ck_assert_int_eq(BEGIN("--kafka.insecure", "false", "--http.insecure=true"), CLI_CONTINUE);
    ck_assert(!cli.config.kafka_insecure);
    ck_assert(cli.config.http_insecure);
    ck_assert_int_eq(cli.arg_count, 0);
}
END_TEST

/* Invariant 1: this verb's -c is a count; --config is still the file. */
START_TEST(own_letters_win)
{
    FILE *file = fopen("some.yaml", "we");

    fputs("app.id: from-file\n", file);
    fclose(file);
    ck_assert_int_eq(BEGIN("-c", "5", "--config", "some.yaml"), CLI_CONTINUE);
    ck_assert_int_eq(number, 5);
    ck_assert_str_eq(cli.config.app_id, "from-file");
    unlink("some.yaml");
}
END_TEST

START_TEST(a_negative_value_is_a_value)
{
    ck_assert_int_eq(BEGIN("-t", "-5", "--", "-e"), CLI_CONTINUE);
    ck_assert_str_eq(text, "-5");
    ck_assert(!flag);
    ck_assert_str_eq(cli.args[0], "-e");
}
END_TEST

START_TEST(refuses_what_it_does_not_know)
{
    static const char *const wrong[][2] = {{"--cuont", "1"}, {"-y", NULL}, {"-c", "0"}, {"-c", "x"},
            {"-o", "xml"}, {"--count", NULL}, {"--state.dri", "x"}};

    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        ck_assert_msg(BEGIN(wrong[i][0], wrong[i][1]) == CLI_USAGE, "%s", wrong[i][0]);
    }
    ck_assert_int_eq(BEGIN("a", "b", "c"), CLI_USAGE);
    cli.args_min = 1;
    ck_assert_int_eq(BEGIN("-e"), CLI_USAGE);
}
END_TEST

START_TEST(wrong_settings_end_it)
{
    ck_assert_int_eq(BEGIN("--state.memory", "12"), CLI_FAILED);
    cli_end(&cli);
    cli.config_loaded = false;
    cli.keep_mistakes = true;
    ck_assert_int_eq(BEGIN("--state.memory", "12"), CLI_CONTINUE);
    ck_assert_uint_gt(cli.mistakes.len, 0);
}
END_TEST

START_TEST(help_needs_no_settings)
{
    dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDOUT_FILENO);
    ck_assert_int_eq(BEGIN("--help", "--state.memory", "12"), CLI_OK);
    ck_assert(!cli.config_loaded);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cli");
    TCase *tests = tcase_create("cli");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, fills_every_kind);
    tcase_add_test(tests, takes_settings_as_options);
    tcase_add_test(tests, tells_switches_from_arguments);
    tcase_add_test(tests, own_letters_win);
    tcase_add_test(tests, a_negative_value_is_a_value);
    tcase_add_test(tests, refuses_what_it_does_not_know);
    tcase_add_test(tests, wrong_settings_end_it);
    tcase_add_test(tests, help_needs_no_settings);
    suite_add_tcase(suite, tests);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
