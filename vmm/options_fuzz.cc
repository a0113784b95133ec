// SPDX-License-Identifier: Apache-2.0
// A command line chosen by the fuzzer, one word a line, JSON among them: it is refused with sentences, or
// what it becomes is consistent, and printed and read again it is the same.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "net/base/check.h"
#include "net/interface_name.h"
#include "vmm/canonical_options.h"
#include "vmm/platform.h"
#include "vmm/testing/parse_line.h"

using namespace tapir;
using namespace tapir::vmm;

namespace {

void check_tap(const TapConfig& tap) {
  CHECK(!tap.id.empty());
  CHECK(tap.queues >= 1 && tap.queues <= kMaxQueues);
  CHECK(tap.fds.empty() || tap.queues == tap.fds.size());
  CHECK(!tap.sndbuf || *tap.sndbuf >= 1);
  const bool own = !tap.bridge && tap.fds.empty();
  CHECK(!tap.bridge || tap.fds.empty());
  if (!own) {
    CHECK(tap.ifname.empty() && tap.device == kTunDevice && !tap.vnet_header);
    CHECK(tap.up_script == ScriptConfig() && tap.down_script == ScriptConfig());
  }
  if (tap.bridge) {
    CHECK(net::check_interface_name(tap.bridge->bridge));
    CHECK(!tap.bridge->helper || !tap.bridge->helper->empty());
  }
  CHECK(tap.ifname.empty() || net::check_interface_name(tap.ifname));
  CHECK(tap.ifname.empty() || tap.device == kTunDevice);
}

void check_machine(const MachineConfig& machine) {
  CHECK(!machine.kernel_path.empty());
  CHECK(machine.memory_bytes != 0 && machine.memory_bytes % 4096 == 0);
  CHECK(machine.cpus >= 1 && machine.cpus <= platform::kMaxCpus);
  std::vector<std::size_t> ports;
  for (const HubConfig& hub : machine.hubs) {
    ports.push_back(hub.taps.size());
    for (const TapConfig& tap : hub.taps) {
      check_tap(tap);
      CHECK(tap.queues == 1);
    }
  }
  for (const NicConfig& nic : machine.nics) {
    CHECK(!nic.backend || !nic.hub);
    if (nic.backend) {
      check_tap(*nic.backend);
    }
    if (nic.hub) {
      CHECK(*nic.hub < ports.size());
      ++ports[*nic.hub];
    }
    CHECK(!nic.mac || !(nic.mac->is_multicast() || nic.mac->is_zero()));
    CHECK(nic.host_mtu == 0 || (nic.host_mtu >= 68 && nic.host_mtu <= 65521));
    CHECK(!nic.vectors || *nic.vectors <= 2048);
    CHECK(!nic.address || (nic.address->slot >= 1 && nic.address->slot <= 31 && nic.address->function == 0));
  }
  for (const std::size_t count : ports) {
    CHECK(count >= 2);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::vector<std::string> words = {"tapir", ""};
  for (std::size_t i = 0; i < size; ++i) {
    if (data[i] == '\n') {
      words.emplace_back();
    } else if (data[i] != 0) {  // argv holds C strings
      words.back().push_back(static_cast<char>(data[i]));
    }
  }
  const auto options = testing::parse_words(words);
  if (!options) {
    CHECK(!options.error().empty());
    for (const std::string& problem : options.error()) {
      CHECK(!problem.empty());
    }
    return 0;
  }
  if (const auto* const run = std::get_if<RunOptions>(&*options)) {
    check_machine(run->machine);
    std::vector<std::string> again = command_line_of(run->machine);
    again.insert(again.begin(), "tapir");
    const auto read = testing::parse_words(again);
    CHECK(read);
    const MachineConfig& machine = std::get<RunOptions>(*read).machine;
    CHECK(testing::without_texts(machine) == testing::without_texts(run->machine));
    CHECK(command_line_of(machine) == command_line_of(run->machine));
  }
  return 0;
}
