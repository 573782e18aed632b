# The version and commit that engine/base/version.h promises, as a source that is written again only
# when one of them changes. Included, this file makes the target; run with -P, it writes the file.
if(NOT CMAKE_SCRIPT_MODE_FILE)
    set(TALLY_VERSION_SOURCE ${CMAKE_BINARY_DIR}/generated/version.c)
    add_custom_target(tally_version
        COMMAND ${CMAKE_COMMAND} -DSOURCE=${CMAKE_SOURCE_DIR} -DOUTPUT=${TALLY_VERSION_SOURCE}
            -DVERSION=${PROJECT_VERSION} -DCOMMIT=${TALLY_COMMIT} -P ${CMAKE_CURRENT_LIST_FILE}
        BYPRODUCTS ${TALLY_VERSION_SOURCE}
        VERBATIM)
    return()
endif()

if(NOT COMMIT)
    # Nothing in front of the commit but a mark when the tree differs from it.
    execute_process(COMMAND git describe --always --dirty --abbrev=12 --exclude *
        WORKING_DIRECTORY ${SOURCE} OUTPUT_VARIABLE COMMIT RESULT_VARIABLE failed
        OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    if(failed OR NOT COMMIT)
        set(COMMIT unknown)
    endif()
endif()
set(text "#include \"engine/base/version.h\"

const char *tally_version(void)
{
    return \"${VERSION}\";
}

const char *tally_commit(void)
{
    return \"${COMMIT}\";
}
")
set(before "")
if(EXISTS ${OUTPUT})
    file(READ ${OUTPUT} before)
endif()
if(NOT text STREQUAL before)
    file(WRITE ${OUTPUT} "${text}")
endif()
