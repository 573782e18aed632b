# With TALLY_PGO, what a stream thread runs is compiled twice: with counters into a program that runs the
# fixed load of tests/bench/training, then into libtally with what was counted. The training has no
# clock, seed or thread of ours, so the same sources give the same profile, and the same program.
# Run with -P, this file trains.
if(CMAKE_SCRIPT_MODE_FILE)
    # What did not change keeps its age, so that only those who depend on what did are compiled again.
    file(REMOVE_RECURSE ${FOLDER}/counted ${FOLDER}/state)
    file(MAKE_DIRECTORY ${FOLDER}/state)
    execute_process(COMMAND env -i LC_ALL=C ${PROGRAM} ${FOLDER}/state RESULT_VARIABLE failed ERROR_VARIABLE told)
    file(REMOVE_RECURSE ${FOLDER}/state)
    if(failed)
        message(FATAL_ERROR "the training run for the profile failed (${failed}): ${told}
-DTALLY_PGO=OFF builds without a profile")
    endif()
    file(STRINGS ${FOLDER}/profiles profiles)
    foreach(profile ${profiles})
        if(NOT EXISTS ${FOLDER}/counted/${profile})
            message(FATAL_ERROR "the training run counted nothing in ${profile}: a source without a function is excluded in cmake/profile.cmake")
        endif()
        file(COPY_FILE ${FOLDER}/counted/${profile} ${FOLDER}/${profile} ONLY_IF_DIFFERENT)
    endforeach()
    return()
endif()

if(NOT TALLY_PGO)
    set_source_files_properties(apps/cmd_version.c PROPERTIES COMPILE_DEFINITIONS TALLY_NO_PROFILE=1)
    return()
endif()
if(NOT CMAKE_C_COMPILER_ID STREQUAL "GNU" OR CMAKE_CROSSCOMPILING)
    message(FATAL_ERROR "a profile is taken with gcc, on the machine that it is for: -DTALLY_PGO=OFF")
endif()

set(TALLY_PROFILE ${CMAKE_BINARY_DIR}/profile)
set(trained ${libtally_sources})
list(FILTER trained INCLUDE REGEX "^${CMAKE_SOURCE_DIR}/(engine|state|schemas|topologies)/")
list(FILTER trained EXCLUDE REGEX "/failpoint\\.c$") # has no function but in builds with checks
set(profiles "")
foreach(source ${trained})
    # gcc finds a profile by the name of what it compiles, which is made the same in both stages.
    cmake_path(RELATIVE_PATH source BASE_DIRECTORY ${CMAKE_SOURCE_DIR} OUTPUT_VARIABLE name)
    string(REPLACE "/" "." name "${name}")
    list(APPEND profiles tally.${name}.gcda)
    set_source_files_properties(${source} PROPERTIES
        OBJECT_DEPENDS ${TALLY_PROFILE}/tally.${name}.gcda
        COMPILE_OPTIONS "-dumpdir;tally.;-dumpbase;${name};-fprofile-prefix-path=${CMAKE_BINARY_DIR};-fprofile-use=${TALLY_PROFILE};-fprofile-partial-training;-Werror=missing-profile;-Werror=coverage-mismatch")
endforeach()
list(JOIN profiles "\n" text)
file(CONFIGURE OUTPUT ${TALLY_PROFILE}/profiles CONTENT "${text}\n" @ONLY)
list(TRANSFORM profiles PREPEND ${TALLY_PROFILE}/)

add_subdirectory(tests/bench/training)
add_custom_command(OUTPUT ${profiles}
    COMMAND ${CMAKE_COMMAND} -DFOLDER=${TALLY_PROFILE} -DPROGRAM=$<TARGET_FILE:tally_training> -P ${CMAKE_CURRENT_LIST_FILE}
    DEPENDS tally_training ${CMAKE_CURRENT_LIST_FILE} ${TALLY_PROFILE}/profiles VERBATIM
    COMMENT "Training for the profile")
