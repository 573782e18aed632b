# What `cmake --install` puts where. Pages of the manual and completions are written by the program
# that is installed. Files that name paths are made at install time, so that --prefix holds for them.
# Components: tally (the service and its tools), dev (the library).

# --- written by the program ---------------------------------------------------------------------------

set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/apps/cmd.h)
file(READ ${CMAKE_SOURCE_DIR}/apps/cmd.h verb_rows)
string(REGEX MATCHALL "\n    X\\([a-z]+," verb_rows "${verb_rows}")
set(pages "tally.1 docs man" "tally.yaml.5 docs man settings")
foreach(row ${verb_rows})
    string(REGEX REPLACE "[^a-z]" "" verb "${row}")
    if(NOT verb STREQUAL "help")
        list(APPEND pages "tally-${verb}.1 docs man ${verb}")
    endif()
endforeach()
set(written ${CMAKE_BINARY_DIR}/generated)
set(outputs "")
set(commands "")
foreach(page ${pages} "tally.bash completion bash" "_tally completion zsh" "tally.fish completion fish")
    separate_arguments(words UNIX_COMMAND "${page}")
    list(POP_FRONT words name)
    list(APPEND outputs ${written}/${name})
    list(APPEND commands COMMAND tally ${words} > ${written}/${name})
endforeach()
add_custom_command(OUTPUT ${outputs} ${commands} DEPENDS tally VERBATIM
    COMMENT "Writing the manual and completions")
add_custom_target(tally_pages ALL DEPENDS ${outputs})

# --- component tally ----------------------------------------------------------------------------------

set(CMAKE_INSTALL_DEFAULT_COMPONENT_NAME tally)
install(TARGETS tally RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
foreach(output ${outputs})
    if(output MATCHES "\\.([15])$")
        install(FILES ${output} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${CMAKE_MATCH_1})
    endif()
endforeach()
install(FILES ${written}/tally.bash RENAME tally
    DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
install(FILES ${written}/_tally DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions)
install(FILES ${written}/tally.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
install(FILES packaging/tally.sysusers RENAME tally.conf DESTINATION lib/sysusers.d)
install(FILES packaging/tally.tmpfiles RENAME tally.conf DESTINATION lib/tmpfiles.d)
install(FILES README.md CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY docs/ DESTINATION ${CMAKE_INSTALL_DOCDIR} FILES_MATCHING PATTERN "*.md")
install(CODE "set(TALLY_SOURCE_DIR \"${CMAKE_SOURCE_DIR}\")
set(TALLY_INSTALL_BINDIR \"${CMAKE_INSTALL_BINDIR}\")
include(\"${CMAKE_SOURCE_DIR}/cmake/install_paths.cmake\")")

# --- component dev ------------------------------------------------------------------------------------

# What an outside program may include: a topology of its own, on the broker in memory or on Kafka. With
# everything that these headers include.
set(public_headers "")
set(open engine/topology_driver.h engine/runtime.h connectors/kafka_admin.h connectors/kafka_client.h http/server.h)
while(open)
    list(POP_FRONT open header)
    if(header IN_LIST public_headers)
        continue()
    endif()
    list(APPEND public_headers ${header})
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${header})
    file(STRINGS ${CMAKE_SOURCE_DIR}/${header} includes REGEX "^#include \"")
    list(TRANSFORM includes REPLACE "^#include \"([^\"]+)\".*" "\\1")
    list(APPEND open ${includes})
endwhile()
set(CMAKE_INSTALL_DEFAULT_COMPONENT_NAME dev)
install(TARGETS libtally ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
foreach(header ${public_headers})
    cmake_path(GET header PARENT_PATH folder)
    install(FILES ${header} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/tally/${folder})
endforeach()
file(RELATIVE_PATH TALLY_PC_PREFIX /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
string(REGEX REPLACE "/$" "" TALLY_PC_PREFIX "${TALLY_PC_PREFIX}")
list(JOIN tally_modules " " TALLY_PC_REQUIRES)
set(TALLY_PC_LIBS "-lrocksdb -lcivetweb -lpthread -lm")
set(TALLY_PC_DEFINES "")
if(TALLY_CHECKS)
    set(TALLY_PC_DEFINES " -DTALLY_CHECKS=1")
endif()
configure_file(packaging/tally.pc.in ${written}/tally.pc @ONLY)
install(FILES ${written}/tally.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
include(CMakePackageConfigHelpers)
write_basic_package_version_file(${written}/TallyConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES packaging/TallyConfig.cmake ${written}/TallyConfigVersion.cmake
    DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/Tally)
