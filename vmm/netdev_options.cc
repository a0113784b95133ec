// SPDX-License-Identifier: Apache-2.0
#include "vmm/netdev_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "net/base/parse.h"
#include "vmm/backend_options.h"
#include "vmm/nic_options.h"

namespace tapir::vmm {

Status NetworkOptions::add_netdev(std::string_view argument) {
  if (!argument.empty() && argument.front() == '{') {
    return fail("the JSON form is not supported; write for example bridge,id=n0,br=br0");
  }
  TAPIR_TRY_ASSIGN(BackendOption option, parse_backend(argument));
  if (option.tap.id.empty()) {
    return fail("id= is missing; for example bridge,id=n0,br=br0");
  }
  option.tap.option = fmt::format("-netdev {}", argument);
  return add_backend({std::move(option.tap), std::move(option.warning)});
}

Status NetworkOptions::add_device(std::string_view argument) {
  TAPIR_TRY_ASSIGN(NicOption option, parse_device(argument));
  option.nic.option = fmt::format("-device {}", argument);
  return add_card({std::move(option.nic), std::move(option.netdev), std::nullopt});
}

Status NetworkOptions::add_net(std::string_view argument) {
  if (argument == "none") {
    return {};
  }
  if (leading_value(argument, "type") == "nic") {
    TAPIR_TRY_ASSIGN(NicOption option, parse_net_nic(argument));
    option.nic.option = fmt::format("-net {}", argument);
    return add_card({std::move(option.nic), std::move(option.netdev), std::nullopt});
  }
  TAPIR_TRY_ASSIGN(BackendOption option, parse_backend(argument));
  option.tap.option = fmt::format("-net {}", argument);
  return add_backend({std::move(option.tap), std::move(option.warning), true});
}

Status NetworkOptions::add_nic(std::string_view argument) {
  if (argument == "none") {
    return {};
  }
  TAPIR_TRY_ASSIGN(BackendOption option, parse_backend(argument, nic_keys()));
  TAPIR_TRY_ASSIGN(NicConfig nic, parse_nic(option.keys));
  option.tap.option = nic.option = fmt::format("-nic {}", argument);
  TAPIR_TRY(add_backend({std::move(option.tap), std::move(option.warning)}));
  return add_card({std::move(nic), std::nullopt, backends_.size() - 1});
}

Status NetworkOptions::add_backend(Backend backend) {
  for (const Backend& other : backends_) {
    if (!backend.tap.id.empty() && other.tap.id == backend.tap.id) {
      return fail(fmt::format("id={} is already taken by {}", backend.tap.id, other.tap.option));
    }
  }
  backends_.push_back(std::move(backend));
  return {};
}

Status NetworkOptions::add_card(Nic nic) {
  for (const Nic& other : nics_) {
    if (!nic.config.id.empty() && other.config.id == nic.config.id) {
      return fail(fmt::format("id={} is already taken by {}", nic.config.id, other.config.option));
    }
  }
  nics_.push_back(std::move(nic));
  return {};
}

Result<std::size_t> NetworkOptions::find_backend(const Nic& nic) const {
  if (nic.backend) {
    return *nic.backend;
  }
  std::vector<std::string_view> ids;
  for (std::size_t i = 0; i < backends_.size(); ++i) {
    const Backend& backend = backends_[i];
    const bool named = !backend.pair && !backend.tap.id.empty();
    if (nic.netdev ? named && backend.tap.id == *nic.netdev : backend.pair) {
      return i;
    }
    if (named) {
      ids.push_back(backend.tap.id);
    }
  }
  const std::string& option = nic.config.option;
  if (!nic.netdev) {
    return fail(fmt::format("{}: the NIC has no backend; add -net bridge,br=br0", option));
  }
  if (const auto near = nearest(*nic.netdev, ids)) {
    return fail(fmt::format("{}: there is no netdev '{}'; did you mean '{}'?", option, *nic.netdev, *near));
  }
  return fail(fmt::format("{}: there is no netdev '{}'; add -netdev bridge,id={},br=br0", option, *nic.netdev,
                          *nic.netdev));
}

Status NetworkOptions::check_pair() const {
  const auto taps =
      std::count_if(backends_.begin(), backends_.end(), [](const Backend& b) { return b.pair; });
  const auto nics =
      std::count_if(nics_.begin(), nics_.end(), [](const Nic& n) { return !n.netdev && !n.backend; });
  if (taps > 1 || nics > 1) {
    return fail(
        "-net joins one NIC and one backend; write each further pair as -netdev bridge,id=ID,... -device "
        "virtio-net-pci,netdev=ID, or as -nic bridge,...");
  }
  return {};
}

Status NetworkOptions::check_descriptors() const {
  for (auto one = backends_.begin(); one != backends_.end(); ++one) {
    const auto same = std::find_if(one + 1, backends_.end(), [&](const Backend& other) {
      return !one->tap.fds.empty() && other.tap.fds == one->tap.fds;
    });
    if (same != backends_.end()) {
      return fail(fmt::format("{}: fd={} is already used by {}", same->tap.option, one->tap.fds.front(),
                              one->tap.option));
    }
  }
  return {};
}

Status NetworkOptions::check_address(const Nic& nic) const {
  const auto first = std::find_if(nics_.begin(), nics_.end(), [&](const Nic& other) {
    return nic.config.mac && other.config.mac == nic.config.mac;
  });
  if (first != nics_.end() && &*first != &nic) {
    return fail(fmt::format("{}: the address {} is already used by {}; give each NIC its own",
                            nic.config.option, nic.config.mac->to_string(), first->config.option));
  }
  return {};
}

void NetworkOptions::warn(const Backend& backend, bool used, std::vector<std::string>& warnings) {
  const std::string& option = backend.tap.option;
  if (!used) {
    warnings.push_back(fmt::format(
        "{} has no NIC and is not opened; add {}", option,
        backend.pair ? "-net nic,model=virtio" : "-device virtio-net-pci,netdev=" + backend.tap.id));
    return;
  }
  if (!backend.warning.empty()) {
    warnings.push_back(fmt::format("{}: {}", option, backend.warning));
  }
  if (backend.tap.queues > 1) {
    warnings.push_back(
        fmt::format("{}: a NIC has one queue pair as yet; the first of the {} queues of the tap is used and "
                    "the others get no frames",
                    option, backend.tap.queues));
  }
}

Result<std::vector<NicConfig>> NetworkOptions::resolve(std::vector<std::string>& warnings) const {
  TAPIR_TRY(check_pair());
  TAPIR_TRY(check_descriptors());
  std::vector<const Nic*> user_of(backends_.size(), nullptr);
  std::vector<NicConfig> resolved;
  for (const Nic& nic : nics_) {
    TAPIR_TRY_ASSIGN(const std::size_t index, find_backend(nic));
    if (user_of[index] != nullptr) {
      return fail(fmt::format("{}: netdev '{}' is already used by {}; each NIC needs a netdev of its own",
                              nic.config.option, backends_[index].tap.id, user_of[index]->config.option));
    }
    user_of[index] = &nic;
    TAPIR_TRY(check_address(nic));
    resolved.push_back(nic.config);
    resolved.back().backend = backends_[index].tap;
  }
  for (std::size_t i = 0; i < backends_.size(); ++i) {
    warn(backends_[i], user_of[i] != nullptr, warnings);
  }
  return resolved;
}

}  // namespace tapir::vmm
