# tally_libraries: what libtally links, all from Debian 12. Which folder may include which header is
# the table that tests/lint checks. tally_allocator: what only the program links.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
set(tally_modules rdkafka yajl libxxhash yaml-0.1 libcrypto libpq hiredis libjwt jansson libcurl)
pkg_check_modules(tally_pkg REQUIRED IMPORTED_TARGET ${tally_modules})

function(tally_find name header library)
    find_path(${name}_INCLUDE_DIR ${header})
    find_library(${name}_LIBRARY ${library})
    if(NOT ${name}_INCLUDE_DIR OR NOT ${name}_LIBRARY)
        message(FATAL_ERROR "${name} not found: install what `./dev deps` lists")
    endif()
    add_library(tally_${name} INTERFACE)
    target_include_directories(tally_${name} SYSTEM INTERFACE ${${name}_INCLUDE_DIR})
    target_link_libraries(tally_${name} INTERFACE ${${name}_LIBRARY})
endfunction()
tally_find(rocksdb rocksdb/c.h rocksdb)
tally_find(civetweb civetweb.h civetweb)

add_library(tally_libraries INTERFACE)
target_link_libraries(tally_libraries INTERFACE
    PkgConfig::tally_pkg tally_rocksdb tally_civetweb Threads::Threads m)

# malloc of the whole process; a sanitizer brings its own.
add_library(tally_allocator INTERFACE)
if(NOT TALLY_SANITIZE)
    pkg_check_modules(jemalloc REQUIRED jemalloc)
    target_link_options(tally_allocator INTERFACE
        -Wl,--push-state,--no-as-needed -ljemalloc -Wl,--pop-state)
endif()
