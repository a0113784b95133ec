// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "net/base/log.h"
#include "net/base/standard_descriptors.h"
#include "tools/bench/command.h"
#include "tools/bench/options.h"

int main(int argc, char** argv) {
  if (auto filled = tapir::fill_standard_descriptors(); !filled) {
    tapir::log(tapir::LogLevel::kError, filled.error().message());
    return 1;
  }
  const auto options = tapir::bench::parse_options({argv + std::min(argc, 1), argv + argc});
  auto text = options ? tapir::bench::run_command(*options) : tl::unexpected<tapir::Error>(options.error());
  if (!text) {
    tapir::log(tapir::LogLevel::kError, text.error().message());
    return 1;
  }
  return std::fputs(text->c_str(), stdout) >= 0 && std::fflush(stdout) == 0 ? 0 : 1;
}
