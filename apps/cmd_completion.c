/* apps/cmd_completion.c - prints a completion script. */
#include "apps/completion.h"

#define TEXT_MAX (1024 * 1024)

int cmd_completion(int argc, char **argv)
{
    struct cli cli = {.verb = "completion",
            .usage = "completion bash|zsh|fish",
            .args_min = 1,
            .args_max = 1,
            .no_settings = true,
            .about = "Prints a script that completes verbs, options and settings in that shell. "
                     "Packages install\n"
                     "it; without one, a shell can read it at its start.",
            .examples = "  source <(tally completion bash)\n"
                        "  tally completion zsh >~/.zfunc/_tally\n"
                        "  tally completion fish | source\n"};
    int status = cli_begin(&cli, argc, argv);
    int shell = 0;
    struct tally_buf out;

    tally_buf_init(&out, TEXT_MAX);
    if (status == CLI_CONTINUE) {
        while (completion_shells[shell] && strcmp(completion_shells[shell], cli.args[0]) != 0) {
            shell++;
        }
        if (completion_shells[shell]) {
            completion_script(shell, &out);
            cli_write(&cli, tally_buf_bytes(&out));
            status = cli_finish(&cli, CLI_OK);
        } else {
            status = cli_usage(&cli, "no completion for \"%s\"", cli.args[0]);
        }
    }
    tally_buf_deinit(&out);
    cli_end(&cli);
    return status;
}
