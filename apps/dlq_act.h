/* apps/dlq_act.h - sends letters again, or gives them up.
 * Invariants
 *  (1) A letter is marked only after the commands topic has acknowledged its record. A death
 *      between the two leaves an open letter; sending it again is harmless, because the command
 *      keeps its id and counts once.
 *  (2) What is sent is what was received: key, value, headers, without what the engine added.
 *      Only the value may be another one, and never, even by force, a command of another id.
 *  (3) What would become a dead letter again is not sent, unless force asks for it.
 *  (4) One delivery that fails does not keep the others of its chunk from being marked.
 * @thread main */
#pragma once
#include "apps/cli.h"
#include "apps/dlq_box.h"

struct dlq_act {
    const struct cli *cli;
    struct dlq_box *box;
    struct tally_slice value; /* data NULL: the letter's own */
    bool rekey;               /* key: what the command's key field asks for */
    bool force;
    bool drop; /* only mark */
    int64_t now_ms;
    /* filled */
    size_t done, refused, failed;
    size_t old; /* sent, and older than what is known of earlier commands */
};

/* Acts on the chosen letters that are open; those of a sink are only dropped. Refusals and failures
 * are reported on stderr and counted; a code says that the work ended early. */
TALLY_MUST_CHECK enum tally_code dlq_act_run(struct dlq_act *act, struct tally_error *err);
