# Run while installing: the settings and the unit, which name paths below the prefix. Below /usr
# that is /etc, as the FHS wants it. A file of settings that is there already is not touched.
set(prefix ${CMAKE_INSTALL_PREFIX})
set(TALLY_SYSCONFDIR ${prefix}/etc)
if(prefix STREQUAL "/usr")
    set(TALLY_SYSCONFDIR /etc)
endif()
set(TALLY_STATEDIR /var/lib/tally) # of StateDirectory=, whatever the prefix
set(TALLY_BINDIR ${prefix}/${TALLY_INSTALL_BINDIR})
set(root "$ENV{DESTDIR}")
file(READ ${TALLY_SOURCE_DIR}/packaging/tally.service.in unit)
string(CONFIGURE "${unit}" unit @ONLY)
file(WRITE "${root}${prefix}/lib/systemd/system/tally.service" "${unit}")
list(APPEND CMAKE_INSTALL_MANIFEST_FILES "${prefix}/lib/systemd/system/tally.service")
if(NOT EXISTS "${root}${TALLY_SYSCONFDIR}/tally/tally.yaml")
    file(COPY ${TALLY_SOURCE_DIR}/packaging/tally.yaml DESTINATION "${root}${TALLY_SYSCONFDIR}/tally")
    list(APPEND CMAKE_INSTALL_MANIFEST_FILES "${TALLY_SYSCONFDIR}/tally/tally.yaml")
endif()
message(STATUS "Installing: ${root}${prefix}/lib/systemd/system/tally.service, ${root}${TALLY_SYSCONFDIR}/tally/tally.yaml")
