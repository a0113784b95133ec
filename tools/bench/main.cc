// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "net/base/log.h"
#include "net/base/standard_descriptors.h"
#include "tools/bench/command.h"
#include "tools/bench/options.h"

namespace {

int fail(const tapir::Error& error) {
  tapir::log(tapir::LogLevel::kError, error.message());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (auto filled = tapir::fill_standard_descriptors(); !filled) {
    return fail(filled.error());
  }
  const auto options = tapir::bench::parse_options({argv + std::min(argc, 1), argv + argc});
  if (!options) {
    return fail(options.error());
  }
  const tapir::bench::Outcome outcome = tapir::bench::run_command(*options);
  const bool written = std::fputs(outcome.text.c_str(), stdout) >= 0 && std::fflush(stdout) == 0;
  if (!outcome.status) {
    return fail(outcome.status.error());
  }
  return written ? 0 : 1;
}
