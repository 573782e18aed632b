# .deb files by CPack, of the preset `package`, whose prefix is /usr: tally, and libtally-dev for
# programs of others. What the program depends on is found in it; what the library needs is in
# tools/packages.txt.
if(NOT CMAKE_INSTALL_PREFIX STREQUAL "/usr")
    return()
endif()
execute_process(COMMAND ${CMAKE_SOURCE_DIR}/tools/packages libraries OUTPUT_VARIABLE library_packages
    OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
string(REPLACE "\n" ", " library_packages "${library_packages}")
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME tally)
set(CPACK_PACKAGE_CONTACT "tally maintainers <tally@localhost>")
set(CPACK_PACKAGE_DESCRIPTION "tally decides commands of a warehouse and a catalogue one by one, writes one event per
command back to Kafka exactly once, keeps what the events imply beside the process, and answers
over HTTP.")
set(CPACK_SET_DESTDIR ON)
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_COMPONENTS_ALL tally dev)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_TALLY_PACKAGE_NAME tally)
set(CPACK_DEBIAN_TALLY_PACKAGE_SECTION net)
set(CPACK_DEBIAN_TALLY_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_TALLY_PACKAGE_DEPENDS adduser)
set(CPACK_DEBIAN_TALLY_PACKAGE_RECOMMENDS ca-certificates)
set(CPACK_DEBIAN_TALLY_PACKAGE_SUGGESTS "postgresql, redis-server")
set(debian ${CMAKE_SOURCE_DIR}/packaging/debian)
set(CPACK_DEBIAN_TALLY_PACKAGE_CONTROL_EXTRA
    ${debian}/conffiles ${debian}/postinst ${debian}/prerm ${debian}/postrm)
set(CPACK_COMPONENT_DEV_DESCRIPTION "The engine of tally as a library: topologies of one's own on it.")
set(CPACK_DEBIAN_DEV_PACKAGE_NAME libtally-dev)
set(CPACK_DEBIAN_DEV_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEV_PACKAGE_DEPENDS "${library_packages}, pkg-config")
include(CPack)
