/* engine/base/version.h - which tally this is; written by the build from project() and git. */
#pragma once

const char *tally_version(void); /* "0.1.0" */
const char *tally_commit(void);  /* "98979e1a2b3c", "...-dirty" if the tree differed, "unknown" */
