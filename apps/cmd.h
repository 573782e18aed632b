/* apps/cmd.h - the verbs of `tally`, one file each: cmd_<verb>.c. argv[0] is the verb; each returns
 * an exit status of cli.h. The table that names them is in verbs.c. @thread main */
#pragma once
#include "apps/cli.h"

#define CMD_VERBS(X)                                                   \
    X(run, "process commands and answer HTTP, until SIGTERM")          \
    X(topics, "create or check the Kafka topics")                      \
    X(send, "publish commands from a file or standard input")          \
    X(tail, "print the records of a topic, as kcat does")              \
    X(dlq, "list, show, retry or drop dead letters")                   \
    X(get, "print one row of a store")                                 \
    X(explain, "say what made a number, or what a code means")         \
    X(watch, "print what changes, one JSON line each, as it happens")  \
    X(fsck, "prove that the state is sound, or dump it")               \
    X(sink, "show, pause, resume or rebuild sinks; make their tables") \
    X(keys, "make and check the keys of programs that use the API")    \
    X(plan, "tell what a start would do to state and sinks")           \
    X(reset, "get tasks out of a halt: plan, and carry out")           \
    X(replay, "build state again from events, in a directory apart")   \
    X(diff, "compare two states: rows, or hashes of them")             \
    X(describe, "show the topologies as text, dot, mermaid or JSON")   \
    X(config, "show, check or document the settings")                  \
    X(docs, "print generated references, or a page of the manual")     \
    X(completion, "print a completion script for bash, zsh or fish")   \
    X(failpoints, "list where a test build can be made to fail")       \
    X(health, "ask a running instance whether it is ready")            \
    X(version, "print the version")                                    \
    X(help, "list the verbs, or explain one")

#define X(verb, about) int cmd_##verb(int argc, char **argv);
CMD_VERBS(X)
#undef X
