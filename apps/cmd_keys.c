/* apps/cmd_keys.c - keys of programs that use the API: made, and their file checked. Whoever runs
 * `new` keeps the key; tally keeps the line, which does not say what the key is. */
#include "apps/cmd.h"

#include <stdio.h>

#include "http/api_keys.h"

struct keys_verb {
    struct cli *cli;
    int role; /* 0: not given */
    const char *name;
};

static int make(const struct keys_verb *verb)
{
    char key[API_KEYS_LEN + 1], line[API_KEYS_LINE_MAX];
    struct tally_error err;

    if (!verb->name || verb->role == 0) {
        return cli_usage(verb->cli, "new needs --name and --role");
    }
    if (!api_keys_name_valid(tally_slice_string(verb->name))) {
        return cli_usage(verb->cli, "--name: expected 1 to 64 of A-Z a-z 0-9 . _ : @ -");
    }
    if (api_keys_make(verb->name, (enum role)verb->role, key, line, &err)) {
        return cli_error(verb->cli, &err);
    }
    printf("%s\n", line);
    fprintf(stderr, "%s\n", key);
    fprintf(stderr, "This is the key; it is not shown again. The line for the file of "
                    "http.api_keys is on standard output.\n");
    return CLI_OK;
}

static int check(const struct keys_verb *verb)
{
    const char *path =
            verb->cli->arg_count == 2 ? verb->cli->args[1] : verb->cli->config.http_api_keys;
    struct api_keys keys;
    struct tally_error err;

    if (!path[0]) {
        return cli_usage(verb->cli, "http.api_keys is empty: check which file?");
    }
    if (api_keys_load(&keys, path, &err)) {
        return cli_error(verb->cli, &err);
    }
    for (size_t i = 0; i < keys.count; i++) {
        char fingerprint[13];
        enum role role;
        const char *name = api_keys_at(&keys, i, &role, fingerprint);

        printf("%-24s %-8s sha256:%s...\n", name, role_name(role), fingerprint);
    }
    api_keys_deinit(&keys);
    return CLI_OK;
}

static int act(const struct keys_verb *verb)
{
    const char *action = verb->cli->args[0];

    if (strcmp(action, "new") == 0 && verb->cli->arg_count == 1) {
        return make(verb);
    }
    if (strcmp(action, "check") == 0) {
        return check(verb);
    }
    return cli_usage(verb->cli, "expected new, or check [FILE]");
}

int cmd_keys(int argc, char **argv)
{
    static const char *const roles[] = {"", "reader", "writer", "operator", "admin", NULL};
    struct keys_verb verb = {.role = 0};
    const struct cli_option options[] = {CLI_OPT_CHOICE('r', "role", &verb.role, roles, "ROLE",
                                                 "reader, writer, operator or admin"),
            CLI_OPT_TEXT('n', "name", &verb.name, "NAME",
                    "whose key it is: the actor of its writes"),
            CLI_OPT_END};
    struct cli cli = {.verb = "keys",
            .usage = "keys new --role ROLE --name NAME | keys check [FILE]",
            .options = options,
            .args_min = 1,
            .args_max = 2,
            .about =
                    "new    makes a key: the key itself goes to standard error, once; the line for "
                    "the file\n"
                    "       of http.api_keys, which has only its hash, to standard output\n"
                    "check  lists the keys of the file, or says what is wrong with it\n"
                    "A running instance reads the file again on SIGHUP. A name may have several "
                    "keys: add the\n"
                    "new one, change the program, then take the old line out.",
            .examples = "  tally keys new --role writer --name shop >> keys.txt\n"
                        "  tally keys check keys.txt\n"};
    int status = cli_begin(&cli, argc, argv);

    verb.cli = &cli;
    if (status == CLI_CONTINUE) {
        status = cli_finish(&cli, act(&verb));
    }
    cli_end(&cli);
    return status;
}
