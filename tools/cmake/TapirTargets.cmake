# SPDX-License-Identifier: Apache-2.0
# How every target of tapir is compiled, and the four kinds of target that the folders declare:
#   tapir_library(NAME SOURCES … LINKS … PUBLIC …)   a static library, one per folder
#   tapir_test(NAME SOURCES … LINKS … LABELS …)      a GoogleTest program, one explicit ctest entry
#   tapir_benchmark(NAME SOURCES … LINKS …)          a Google Benchmark program, run for a moment as a test too
#   tapir_fuzzer(NAME SOURCES … LINKS … CORPUS dir)  a libFuzzer program, only with TAPIR_FUZZ

add_library(tapir_flags INTERFACE)
target_include_directories(tapir_flags INTERFACE ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR}/generated)
target_compile_options(tapir_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wold-style-cast -Wnon-virtual-dtor
  -Woverloaded-virtual -Wimplicit-fallthrough -Werror -fno-omit-frame-pointer)
target_compile_definitions(tapir_flags INTERFACE _GNU_SOURCE)

if(TAPIR_SANITIZERS)
  target_compile_options(tapir_flags INTERFACE -fsanitize=${TAPIR_SANITIZERS} -fno-sanitize-recover=all)
  target_link_options(tapir_flags INTERFACE -fsanitize=${TAPIR_SANITIZERS})
elseif(CMAKE_BUILD_TYPE STREQUAL "Release")
  target_compile_definitions(tapir_flags INTERFACE _FORTIFY_SOURCE=2)
  target_compile_options(tapir_flags INTERFACE -fstack-protector-strong -fcf-protection)
  target_link_options(tapir_flags INTERFACE -pie -Wl,-z,relro,-z,now)
endif()
if(TAPIR_FUZZ)
  target_compile_options(tapir_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

function(tapir_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS;PUBLIC" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_link_libraries(${name} PUBLIC ${ARG_PUBLIC} PRIVATE tapir_flags ${ARG_LINKS})
endfunction()

function(tapir_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS;LABELS" ${ARGN})
  if(NOT BUILD_TESTING)
    return()
  endif()
  find_package(GTest REQUIRED)
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE tapir_flags ${ARG_LINKS} GTest::gmock GTest::gtest_main)
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT 600)
endfunction()

function(tapir_benchmark name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS" ${ARGN})
  if(NOT BUILD_TESTING)
    return()
  endif()
  find_package(benchmark REQUIRED)
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE tapir_flags ${ARG_LINKS} benchmark::benchmark)
  add_test(NAME ${name} COMMAND ${name} --benchmark_min_time=0.001)
  set_tests_properties(${name} PROPERTIES LABELS unit TIMEOUT 600)
endfunction()

function(tapir_fuzzer name)
  cmake_parse_arguments(ARG "" "CORPUS" "SOURCES;LINKS" ${ARGN})
  if(NOT TAPIR_FUZZ)
    return()
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE tapir_flags ${ARG_LINKS} -fsanitize=fuzzer)
  set_property(GLOBAL APPEND PROPERTY TAPIR_FUZZERS "${name}|${CMAKE_CURRENT_SOURCE_DIR}/${ARG_CORPUS}")
endfunction()
