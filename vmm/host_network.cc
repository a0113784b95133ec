// SPDX-License-Identifier: Apache-2.0
#include "vmm/host_network.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <utility>

#include "net/base/log.h"
#include "net/sync_frame_io.h"
#include "vmm/host_tap.h"

namespace tapir::vmm {
namespace {

bool any_needs_broker(const MachineConfig& config) {
  return std::any_of(config.nics.begin(), config.nics.end(),
                     [](const NicConfig& nic) { return nic.backend && needs_broker(*nic.backend); });
}

/// Whether tapir was told to open this macvtap, so that its address is the operator's to know.
bool is_opened_here(const TapConfig& config) {
  return config.fds.empty() && !config.bridge;
}

/// The address of a NIC on the macvtap `name`, which passes on only what is for `required`.
Result<net::MacAddress> settle_macvtap_mac(const NicConfig& config, const std::string& name,
                                           const net::MacAddress& required) {
  if (!config.mac || *config.mac == required) {
    return required;
  }
  const std::string what = fmt::format(
      "the address is {}, but macvtap '{}' passes on only frames for its own, {}; leave the address out, and "
      "the NIC has that one",
      config.mac->to_string(), name, required.to_string());
  if (is_opened_here(*config.backend)) {
    return fail(fmt::format("{}: {}", config.option, what));
  }
  // Whoever opened it may have made it pass on everything.
  log(LogLevel::kWarning, fmt::format("{}: {}", config.option, what));
  return *config.mac;
}

Status open_backend(HostNic& nic, Broker* broker) {
  const TapConfig& config = *nic.config.backend;
  auto opened = open_host_tap(config, nic.mac, broker);
  if (!opened) {
    return tl::unexpected(std::move(opened).error().with_context(config.option));
  }
  nic.ifname = opened->tap.name();
  if (opened->tap.required_mac()) {
    TAPIR_TRY_ASSIGN(nic.mac, settle_macvtap_mac(nic.config, nic.ifname, *opened->tap.required_mac()));
  }
  nic.unused_queues = std::move(opened->unused_queues);
  nic.port = std::move(opened->tap).into_port();
  return {};
}

void tell_random_mac(const HostNic& nic, const net::MacAddress& random) {
  if (nic.mac == random) {
    log(LogLevel::kInfo, fmt::format("{}: this NIC has the random MAC address {}; with -name it keeps one",
                                     nic.config.option, random.to_string()));
  }
}

/// What can be said on the command line and has no host's side as yet.
Status check_supported(const MachineConfig& config) {
  if (!config.hubs.empty()) {
    return fail("hubs of three ports and more are not supported yet");
  }
  for (const NicConfig& nic : config.nics) {
    if (!nic.backend) {
      return fail(fmt::format("{}: a NIC without netdev is not supported yet", nic.option));
    }
    const TapConfig& tap = *nic.backend;
    if (!tap.up_script.path.empty() || !tap.down_script.path.empty()) {
      return fail(
          fmt::format("{}: scripts are not supported yet; set the interface up beforehand and add "
                      "script=no,downscript=no",
                      tap.option));
    }
    if (tap.sndbuf || tap.device != kTunDevice || (!tap.bridge && tap.queues > 1)) {
      return fail(
          fmt::format("{}: sndbuf=, dev= and fds= are not supported yet; leave them out", tap.option));
    }
    if (!tap.bridge && tap.fds.empty() && tap.ifname.empty()) {
      return fail(fmt::format("{}: ifname= is missing; for example ifname=tap0", tap.option));
    }
  }
  return {};
}

}  // namespace

Result<HostNetwork> HostNetwork::open(const MachineConfig& config) {
  TAPIR_TRY(check_supported(config));
  HostNetwork network;
  if (any_needs_broker(config)) {
    TAPIR_TRY_ASSIGN(network.broker, Broker::start());
  }
  for (unsigned index = 0; index < config.nics.size(); ++index) {
    HostNic nic;
    nic.config = config.nics[index];
    const net::MacAddress own = default_mac(config.name, index);
    nic.mac = nic.config.mac.value_or(own);
    TAPIR_TRY(open_backend(nic, network.broker.get()));
    if (config.name.empty()) {
      tell_random_mac(nic, own);
    }
    network.nics.push_back(std::move(nic));
  }
  if (network.broker) {
    TAPIR_TRY(network.broker->seal());
  }
  return network;
}

Status HostNetwork::start() {
  for (std::size_t index = 0; index < nics.size(); ++index) {
    TAPIR_TRY_ASSIGN(auto engine, net::SyncFrameIo::create(std::move(nics[index].port)));
    TAPIR_TRY_ASSIGN(nics[index].io, virtio::IoThread::start(std::move(engine), fmt::format("net{}", index)));
  }
  return {};
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
