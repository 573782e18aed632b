/* engine/base/version.h - which tally this is; written by the build from project() and git. */
#pragma once

const char *tally_version(void); /* "0.1.0" */
const char *tally_commit(void);  /* 12 hex digits, "-dirty" behind them if the tree differed; or "unknown" */
