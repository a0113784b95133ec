// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <vector>

#include "vmm/options.h"

namespace tapir::vmm::testing {

/// parse_options() of whole words, the first of them the program's name.
inline tl::expected<Options, std::vector<std::string>> parse_words(std::span<const std::string> words) {
  std::vector<const char*> argv;
  argv.reserve(words.size());
  for (const std::string& word : words) {
    argv.push_back(word.c_str());
  }
  return parse_options(static_cast<int>(argv.size()), argv.data());
}

/// The configuration without what only messages need, which depends on how the line was written.
inline MachineConfig without_texts(MachineConfig machine) {
  for (NicConfig& nic : machine.nics) {
    nic.option.clear();
    if (nic.backend) {
      nic.backend->option.clear();
    }
  }
  for (HubConfig& hub : machine.hubs) {
    for (TapConfig& tap : hub.taps) {
      tap.option.clear();
    }
  }
  return machine;
}

}  // namespace tapir::vmm::testing
