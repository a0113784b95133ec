// SPDX-License-Identifier: Apache-2.0
// A command line chosen by the fuzzer, one word a line: it is refused with a sentence, or what it becomes is
// consistent.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "net/base/check.h"
#include "net/interface_name.h"
#include "vmm/options.h"
#include "vmm/platform.h"

using namespace tapir;
using namespace tapir::vmm;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::vector<std::string> words = {"tapir", ""};
  for (std::size_t i = 0; i < size; ++i) {
    if (data[i] == '\n') {
      words.emplace_back();
    } else if (data[i] != 0) {  // argv holds C strings
      words.back().push_back(static_cast<char>(data[i]));
    }
  }
  std::vector<const char*> argv;
  argv.reserve(words.size());
  for (const std::string& word : words) {
    argv.push_back(word.c_str());
  }

  const auto options = parse_options(static_cast<int>(argv.size()), argv.data());
  if (!options) {
    CHECK(!options.error().message().empty());
    return 0;
  }
  if (const auto* const run = std::get_if<RunOptions>(&*options)) {
    const MachineConfig& machine = run->machine;
    CHECK(!machine.kernel_path.empty());
    CHECK(machine.memory_bytes != 0 && machine.memory_bytes % 4096 == 0);
    CHECK(machine.cpus >= 1 && machine.cpus <= platform::kMaxCpus);
    for (const NicConfig& nic : machine.nics) {
      CHECK(nic.backend);
      const TapConfig& tap = *nic.backend;
      CHECK(int{!tap.ifname.empty()} + int{!tap.fds.empty()} + int{tap.bridge.has_value()} == 1);
      if (tap.bridge) {
        CHECK(net::check_interface_name(tap.bridge->bridge));
        CHECK(tap.queues >= 1 && tap.queues <= kMaxQueues);
        CHECK(!tap.bridge->helper || !tap.bridge->helper->empty());
        CHECK(!tap.vnet_header);
      }
      CHECK(!nic.mac || !(nic.mac->is_multicast() || nic.mac->is_zero()));
    }
  }
  return 0;
}
