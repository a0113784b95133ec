// SPDX-License-Identifier: Apache-2.0
#include "vmm/host_resources.h"

#include <fmt/format.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <utility>

#include "vmm/rtc.h"

namespace tapir::vmm {
namespace {

Result<virtio::GuestMemory> create_memory(std::uint64_t bytes) {
  struct sysinfo host {};
  if (::sysinfo(&host) == 0) {
    // Memory is given to a guest as it touches it, so what is free now does not matter; more than there is
    // can only end in the guest's death.
    const std::uint64_t host_bytes = (std::uint64_t{host.totalram} + host.totalswap) * host.mem_unit;
    if (bytes > host_bytes) {
      return fail(fmt::format("-m {}M: this host has {}M of memory and swap; give the guest less",
                              bytes >> 20U, host_bytes >> 20U));
    }
  }
  return virtio::GuestMemory::create(bytes);
}

Status open_serial(const SerialConfig& config, HostResources& host) {
  int fd = -1;
  if (config.kind == SerialConfig::Kind::kStdio) {
    fd = STDOUT_FILENO;
  } else if (config.kind == SerialConfig::Kind::kFile) {
    TAPIR_TRY_ASSIGN(host.serial_file, SerialFile::open(config.path));
    fd = host.serial_file->fd();
  } else {
    return {};
  }
  TAPIR_TRY_ASSIGN(host.serial_output, SerialOutput::start(fd));
  return {};
}

}  // namespace

Result<std::unique_ptr<HostResources>> HostResources::open(const MachineConfig& config) {
  // First of all: the broker is forked from one thread, and helpers run before anything is set up in vain.
  TAPIR_TRY_ASSIGN(HostNetwork network, HostNetwork::open(config));
  TAPIR_TRY_ASSIGN(Kvm kvm, Kvm::open());
  TAPIR_TRY_ASSIGN(auto files, boot::BootFiles::open(config.kernel_path, config.initrds));
  TAPIR_TRY_ASSIGN(auto memory, create_memory(config.memory_bytes));
  TAPIR_TRY_ASSIGN(EventFd input_space, EventFd::create());
  TAPIR_TRY_ASSIGN(UniqueFd rtc_timer, Rtc::make_timer());
  auto host = std::make_unique<HostResources>(HostResources{std::move(kvm),
                                                            std::move(files),
                                                            std::move(memory),
                                                            std::move(input_space),
                                                            std::move(rtc_timer),
                                                            {},
                                                            {},
                                                            std::move(network),
                                                            {}});
  TAPIR_TRY(open_serial(config.serial, *host));
  TAPIR_TRY(host->network.start());
  return host;
}

}  // namespace tapir::vmm
