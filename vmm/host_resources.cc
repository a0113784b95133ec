// SPDX-License-Identifier: Apache-2.0
#include "vmm/host_resources.h"

#include <fmt/format.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <utility>

#include "net/base/log.h"
#include "net/sync_frame_io.h"
#include "net/tap.h"
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

Result<net::Tap> open_tap(const TapConfig& config) {
  const net::TapOptions options{config.vnet_header};
  return config.fd ? net::Tap::adopt(*config.fd, options) : net::Tap::open(config.ifname, options);
}

Result<HostNic> open_nic(const MachineConfig& machine, unsigned index) {
  const NicConfig& config = machine.nics[index];
  TAPIR_TRY_ASSIGN(net::Tap tap, open_tap(config.backend));
  TAPIR_TRY_ASSIGN(auto engine, net::SyncFrameIo::create(std::move(tap).into_port()));
  TAPIR_TRY_ASSIGN(auto io, virtio::IoThread::start(std::move(engine), fmt::format("net{}", index)));
  const net::MacAddress mac = config.mac.value_or(default_mac(machine.name, index));
  if (!config.mac && machine.name.empty()) {
    log(LogLevel::kInfo, fmt::format("NIC {} has the random MAC address {}; give -name or mac= to keep one",
                                     config.backend.id, mac.to_string()));
  }
  return HostNic{config, mac, std::move(io)};
}

Status open_serial(const SerialConfig& config, HostResources& host) {
  int fd = -1;
  if (config.kind == SerialConfig::Kind::kStdio) {
    fd = STDOUT_FILENO;
  } else if (config.kind == SerialConfig::Kind::kFile) {
    TAPIR_TRY_ASSIGN(host.serial_file, open_serial_file(config.path));
    fd = host.serial_file.get();
  } else {
    return {};
  }
  TAPIR_TRY_ASSIGN(host.serial_output, SerialOutput::start(fd));
  return {};
}

}  // namespace

Result<std::unique_ptr<HostResources>> HostResources::open(const MachineConfig& config) {
  TAPIR_TRY_ASSIGN(Kvm kvm, Kvm::open());
  TAPIR_TRY_ASSIGN(auto files, boot::BootFiles::open(config.kernel_path, config.initrd_path));
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
                                                            {}});
  TAPIR_TRY(open_serial(config.serial, *host));
  for (unsigned index = 0; index < config.nics.size(); ++index) {
    TAPIR_TRY_ASSIGN(HostNic nic, open_nic(config, index));
    host->nics.push_back(std::move(nic));
  }
  return host;
}

net::MacAddress default_mac(std::string_view vm_name, unsigned index) {
  if (vm_name.empty()) {
    return net::MacAddress::random();
  }
  std::string machine_id;
  std::ifstream("/etc/machine-id") >> machine_id;  // without one, hosts share the addresses of equal names
  return net::MacAddress::from_identity(fmt::format("{}/{}/{}/{}", machine_id, ::getuid(), vm_name, index));
}

}  // namespace tapir::vmm
