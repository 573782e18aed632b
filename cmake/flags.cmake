# tally_flags: what every file of tally, and every test, is compiled and linked with.
include(CheckCCompilerFlag)
include(CheckLinkerFlag)

add_library(tally_flags INTERFACE)
target_include_directories(tally_flags INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_definitions(tally_flags INTERFACE _GNU_SOURCE)
target_compile_options(tally_flags INTERFACE
    -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla
    -Werror=format-security -fno-strict-overflow -fno-delete-null-pointer-checks
    -fmacro-prefix-map=${CMAKE_SOURCE_DIR}/=) # messages name files of the tree, wherever it was built
if(TALLY_WERROR)
    target_compile_options(tally_flags INTERFACE -Werror)
endif()
target_link_options(tally_flags INTERFACE -Wl,--as-needed)
if(TALLY_CHECKS)
    target_compile_definitions(tally_flags INTERFACE TALLY_CHECKS=1)
endif()

if(TALLY_SANITIZE)
    target_compile_options(tally_flags INTERFACE
        -fsanitize=${TALLY_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
    target_link_options(tally_flags INTERFACE -fsanitize=${TALLY_SANITIZE})
    if(TALLY_FUZZ)
        target_compile_options(tally_flags INTERFACE -fsanitize=fuzzer-no-link)
    endif()
    return()
endif()

# Hardening. -fPIE and -pie come through POSITION_INDEPENDENT_CODE and the policy behind it.
include(CheckPIESupported)
check_pie_supported(LANGUAGES C)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
target_compile_options(tally_flags INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3)
foreach(flag -fstack-protector-strong -fstack-clash-protection -fcf-protection=full
        -ftrivial-auto-var-init=zero)
    string(MAKE_C_IDENTIFIER "compiler_knows_${flag}" known)
    check_c_compiler_flag(${flag} ${known})
    if(${known})
        target_compile_options(tally_flags INTERFACE ${flag})
    endif()
endforeach()
foreach(flag relro now noexecstack separate-code)
    check_linker_flag(C -Wl,-z,${flag} linker_knows_${flag})
    if(linker_knows_${flag})
        target_link_options(tally_flags INTERFACE -Wl,-z,${flag})
    endif()
endforeach()
