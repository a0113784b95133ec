// SPDX-License-Identifier: Apache-2.0
#include "vmm/host_network.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <utility>

#include "net/base/log.h"
#include "net/bridge_client.h"
#include "net/sync_frame_io.h"
#include "net/tap.h"

namespace tapir::vmm {
namespace {

bool has_down_command(const NicConfig& nic) {
  return nic.backend && nic.backend->bridge && !nic.backend->bridge->down_command.empty();
}

net::MacAddress settle_mac(const MachineConfig& machine, unsigned index) {
  const NicConfig& config = machine.nics[index];
  const net::MacAddress mac = config.mac.value_or(default_mac(machine.name, index));
  if (!config.mac && machine.name.empty()) {
    log(LogLevel::kInfo, fmt::format("{}: this NIC has the random MAC address {}; with -name it keeps one",
                                     config.option, mac.to_string()));
  }
  return mac;
}

Result<net::Tap> adopt(UniqueFd fd) {
  TAPIR_TRY_ASSIGN(net::Tap tap, net::Tap::adopt(fd.get(), {}));
  static_cast<void>(fd.release());
  return tap;
}

/// The words of down-helper=, and what QEMU's users would expect a helper to be told.
BrokerCommand down_command(const TapConfig& config, const std::string& tap) {
  BrokerCommand command{config.option, config.bridge->down_command};
  command.words.push_back("--br=" + config.bridge->bridge);
  command.words.push_back("--ifname=" + tap);
  return command;
}

/// A tap that the bridge helper makes; its queues but the first go to `nic`.
Result<net::Tap> request_tap(HostNic& nic, Broker* broker) {
  const BridgeConfig& config = *nic.config.backend->bridge;
  net::BridgeRequest request;
  request.bridge = config.bridge;
  request.helper = config.helper;
  request.queues = nic.config.backend->queues;
  request.mac = nic.mac;
  TAPIR_TRY_ASSIGN(std::vector<UniqueFd> queues, net::request_taps(request));
  TAPIR_TRY_ASSIGN(net::Tap tap, adopt(std::move(queues.front())));
  if (!config.down_command.empty()) {
    TAPIR_TRY(broker->add(down_command(*nic.config.backend, tap.name())));
  }
  queues.erase(queues.begin());
  for (const UniqueFd& queue : queues) {
    TAPIR_TRY(net::Tap::detach_queue(queue.get()));
  }
  nic.unused_queues = std::move(queues);
  return tap;
}

Result<net::Tap> open_tap(HostNic& nic, Broker* broker) {
  const TapConfig& config = *nic.config.backend;
  if (config.bridge) {
    return request_tap(nic, broker);
  }
  const net::TapOptions options{config.vnet_header};
  return !config.fds.empty() ? net::Tap::adopt_inherited(config.fds.front(), options)
                             : net::Tap::open(config.ifname, options);
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
  if (std::any_of(config.nics.begin(), config.nics.end(), has_down_command)) {
    TAPIR_TRY_ASSIGN(network.broker, Broker::start());
  }
  for (unsigned index = 0; index < config.nics.size(); ++index) {
    HostNic nic;
    nic.config = config.nics[index];
    nic.mac = settle_mac(config, index);
    auto tap = open_tap(nic, network.broker.get());
    if (!tap) {
      return tl::unexpected(std::move(tap).error().with_context(nic.config.backend->option));
    }
    nic.port = std::move(*tap).into_port();
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
