// SPDX-License-Identifier: Apache-2.0
#include "vmm/host_network.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <utility>

#include "net/base/log.h"
#include "net/frame_io_factory.h"
#include "vmm/host_tap.h"

namespace tapir::vmm {
namespace {

bool any_needs_broker(const MachineConfig& config) {
  return std::any_of(config.nics.begin(), config.nics.end(),
                     [](const NicConfig& nic) { return nic.backend && needs_broker(*nic.backend); }) ||
         std::any_of(config.hubs.begin(), config.hubs.end(), [](const HubConfig& hub) {
           return std::any_of(hub.taps.begin(), hub.taps.end(), needs_broker);
         });
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
  const net::FrameIoFeatures features = opened->tap.features();
  nic.ports.push_back(std::move(opened->tap).into_port());
  for (UniqueFd& queue : opened->more_queues) {
    nic.ports.push_back({std::move(queue), features, true});
  }
  return {};
}

std::size_t nics_on_hub(const MachineConfig& config, std::size_t hub) {
  return static_cast<std::size_t>(std::count_if(config.nics.begin(), config.nics.end(),
                                                [hub](const NicConfig& nic) { return nic.hub == hub; }));
}

/// `nics`: how many will be on it.
Result<HostHub> open_hub(const HubConfig& config, std::size_t nics, Broker* broker) {
  HostHub host;
  std::vector<net::FramePort> ports;
  for (const TapConfig& tap : config.taps) {
    auto opened = open_host_tap(tap, std::nullopt, broker);
    if (!opened) {
      return tl::unexpected(std::move(opened).error().with_context(tap.option));
    }
    if (opened->tap.required_mac()) {
      host.required_mac = opened->tap.required_mac();
    }
    ports.push_back(std::move(opened->tap).into_port());
  }
  TAPIR_TRY_ASSIGN(host.hub, net::Hub::create(fmt::format("hub{}", config.id), std::move(ports), nics));
  host.nic_ports = host.hub->take_nic_ports();
  return host;
}

/// Gives the NIC the next port of its hub.
void join_hub(HostNic& nic, HostHub& hub, bool alone) {
  nic.hub = hub.hub.get();
  nic.ports.push_back(std::move(hub.nic_ports.front()));
  hub.nic_ports.erase(hub.nic_ports.begin());
  if (!hub.required_mac || *hub.required_mac == nic.mac) {
    return;
  }
  if (!nic.config.mac && alone) {
    nic.mac = *hub.required_mac;
    return;
  }
  log(LogLevel::kWarning,
      fmt::format("{}: the address is {}, but a macvtap of its hub passes on only frames for its own, {}",
                  nic.config.option, nic.mac.to_string(), hub.required_mac->to_string()));
}

/// What the NIC is joined to: its own tap, its hub, or a hub of its own where nobody else is.
Status connect(HostNic& nic, const MachineConfig& config, HostNetwork& network) {
  if (nic.config.backend) {
    return open_backend(nic, network.broker.get());
  }
  if (nic.config.hub) {
    join_hub(nic, network.hubs[*nic.config.hub], nics_on_hub(config, *nic.config.hub) == 1);
    return {};
  }
  TAPIR_TRY_ASSIGN(network.hubs.emplace_back(), open_hub(HubConfig{}, 1, nullptr));
  join_hub(nic, network.hubs.back(), true);
  return {};
}

/// Starts the I/O threads of a NIC: `name`, or with several queues `name`.0 and so on.
Status start_threads(HostNic& nic, const std::string& name) {
  const TapConfig tap = nic.config.backend.value_or(TapConfig{});
  const net::FrameEngineOptions options{std::chrono::microseconds(tap.poll_microseconds)};
  const std::size_t queues = nic.config.multi_queue ? nic.ports.size() : 1;
  for (std::size_t queue = 0; queue < queues; ++queue) {
    TAPIR_TRY_ASSIGN(std::unique_ptr<net::FrameIo> engine,
                     net::make_frame_io(std::move(nic.ports[queue]), tap.engine, options));
    if (nic.hub != nullptr && engine->features().offloads != 0) {
      engine = std::make_unique<net::HubFrameIo>(std::move(engine), *nic.hub);
    }
    TAPIR_TRY_ASSIGN(
        nic.io.emplace_back(),
        virtio::IoThread::start(std::move(engine), queues == 1 ? name : fmt::format("{}.{}", name, queue)));
  }
  return {};
}

void tell_random_mac(const HostNic& nic, const net::MacAddress& random) {
  if (nic.mac == random) {
    log(LogLevel::kInfo, fmt::format("{}: this NIC has the random MAC address {}; with -name it keeps one",
                                     nic.config.option, random.to_string()));
  }
}

}  // namespace

Result<HostNetwork> HostNetwork::open(const MachineConfig& config) {
  HostNetwork network;
  if (any_needs_broker(config)) {
    TAPIR_TRY_ASSIGN(network.broker, Broker::start());
  }
  for (std::size_t hub = 0; hub < config.hubs.size(); ++hub) {
    TAPIR_TRY_ASSIGN(network.hubs.emplace_back(),
                     open_hub(config.hubs[hub], nics_on_hub(config, hub), network.broker.get()));
  }
  for (unsigned index = 0; index < config.nics.size(); ++index) {
    HostNic nic;
    nic.config = config.nics[index];
    const net::MacAddress own = default_mac(config.name, index);
    nic.mac = nic.config.mac.value_or(own);
    TAPIR_TRY(connect(nic, config, network));
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
    TAPIR_TRY(start_threads(nics[index], fmt::format("net{}", index)));
  }
  for (const HostHub& host : hubs) {
    TAPIR_TRY(host.hub->start());
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
