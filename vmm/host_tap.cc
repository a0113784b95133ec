// SPDX-License-Identifier: Apache-2.0
#include "vmm/host_tap.h"

#include <fmt/format.h>

#include <string>
#include <utility>

#include "net/bridge_client.h"
#include "vmm/tap_scripts.h"

namespace tapir::vmm {
namespace {

/// The words of down-helper=, and what QEMU's users would expect a helper to be told.
BrokerCommand down_command(const TapConfig& config, const std::string& tap) {
  BrokerCommand command{config.option, config.bridge->down_command};
  command.words.push_back("--br=" + config.bridge->bridge);
  command.words.push_back("--ifname=" + tap);
  return command;
}

/// From the last on, so that those attached later get the numbers that they have here.
Status detach_queues(const std::vector<UniqueFd>& queues) {
  for (auto queue = queues.rbegin(); queue != queues.rend(); ++queue) {
    TAPIR_TRY(net::Tap::detach_queue(queue->get()));
  }
  return {};
}

Result<net::Tap> adopt(UniqueFd fd, const net::TapOptions& options) {
  TAPIR_TRY_ASSIGN(net::Tap tap, net::Tap::adopt(fd.get(), options));
  static_cast<void>(fd.release());
  return tap;
}

/// A tap that the bridge helper makes.
Result<HostTap> request_tap(const TapConfig& config, const net::TapOptions& options,
                            const std::optional<net::MacAddress>& mac, Broker* broker) {
  net::BridgeRequest request;
  request.bridge = config.bridge->bridge;
  request.helper = config.bridge->helper;
  request.queues = config.queues;
  request.mac = mac;
  TAPIR_TRY_ASSIGN(std::vector<UniqueFd> queues, net::request_taps(request));
  TAPIR_TRY_ASSIGN(net::Tap tap, adopt(std::move(queues.front()), options));
  if (!config.bridge->down_command.empty()) {
    TAPIR_TRY(broker->add(down_command(config, tap.name())));
  }
  HostTap host{std::move(tap), {}};
  for (std::size_t i = 1; i < queues.size(); ++i) {
    TAPIR_TRY_ASSIGN(net::Tap queue, adopt(std::move(queues[i]), options));
    host.more_queues.push_back(std::move(queue).into_port().fd);
  }
  return host;
}

/// The descriptors of fd= or fds=, which have to be queues of one tap.
Result<HostTap> adopt_taps(const TapConfig& config, const net::TapOptions& options) {
  TAPIR_TRY_ASSIGN(net::Tap tap, net::Tap::adopt_inherited(config.fds.front(), options));
  HostTap host{std::move(tap), {}};
  for (std::size_t i = 1; i < config.fds.size(); ++i) {
    TAPIR_TRY_ASSIGN(net::Tap queue, net::Tap::adopt_inherited(config.fds[i], options));
    if (queue.name() != host.tap.name()) {
      return fail(fmt::format("fd {} is of tap '{}' and fd {} of tap '{}'; fds= takes queues of one tap",
                              config.fds.front(), host.tap.name(), config.fds[i], queue.name()));
    }
    if (queue.features().vnet_header != host.tap.features().vnet_header) {
      return fail(
          fmt::format("some of the queues of tap '{}' have a vnet header and some have none; attach "
                      "all of them with IFF_VNET_HDR or all without",
                      queue.name()));
    }
    host.more_queues.push_back(std::move(queue).into_port().fd);
  }
  return host;
}

/// A tap that is opened by this process itself, with its scripts.
Result<HostTap> attach_tap(const TapConfig& config, net::TapOptions options, Broker* broker) {
  TAPIR_TRY_ASSIGN(const std::string up_script, find_script(config.up_script, "script"));
  TAPIR_TRY_ASSIGN(const std::string down_script, find_script(config.down_script, "downscript"));
  options.device = config.device;
  options.multi_queue = config.queues > 1;
  TAPIR_TRY_ASSIGN(net::Tap tap, net::Tap::attach(config.ifname, options));
  HostTap host{std::move(tap), {}};
  for (unsigned queue = 1; queue < config.queues; ++queue) {
    TAPIR_TRY_ASSIGN(host.more_queues.emplace_back(), host.tap.open_queue());
  }
  if (!up_script.empty()) {
    TAPIR_TRY(run_up_script(up_script, host.tap.name()));
  }
  // From here on: what a script that failed has left half done, its counterpart need not understand.
  if (!down_script.empty()) {
    TAPIR_TRY(broker->add({config.option, {down_script, host.tap.name()}}));
  }
  TAPIR_TRY(host.tap.make_ready());
  return host;
}

}  // namespace

bool needs_broker(const TapConfig& config) {
  if (config.bridge) {
    return !config.bridge->down_command.empty();
  }
  const auto script = find_script(config.down_script, "downscript");
  return script && !script->empty();
}

Result<HostTap> open_host_tap(const TapConfig& config, const std::optional<net::MacAddress>& mac,
                              Broker* broker) {
  net::TapOptions options;
  options.vnet_header = config.vnet_header;
  options.send_buffer = config.sndbuf;
  auto host = config.bridge         ? request_tap(config, options, mac, broker)
              : !config.fds.empty() ? adopt_taps(config, options)
                                    : attach_tap(config, options, broker);
  if (host) {
    TAPIR_TRY(detach_queues(host->more_queues));
  }
  return host;
}

}  // namespace tapir::vmm
