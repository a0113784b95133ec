// SPDX-License-Identifier: Apache-2.0
#include "vmm/network_resolver.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "net/base/parse.h"
#include "net/virtio_net_uapi.h"

namespace tapir::vmm {
namespace {

constexpr std::int32_t kNetHub = 0;  ///< the hub that -net means

/// A tap or a port of a hub, by its id, and who uses it.
struct Endpoint {
  std::string id;
  const NetworkItem* item = nullptr;
  std::optional<std::size_t> hub;  ///< of a port: index into hubs
  std::string user;                ///< the option that uses it; empty: none
};

struct Hub {
  std::int32_t id = 0;
  std::vector<TapConfig> taps;
  std::vector<std::size_t> nics;  ///< indexes into nics
};

class Resolver {
 public:
  Resolver(std::span<const NetworkItem> items, Problems& problems, std::vector<std::string>& warnings)
      : items_(items), problems_(problems), warnings_(warnings) {
    problems_.set_context({});
  }

  NetworkConfig run() {
    for (const NetworkItem& item : items_) {
      if (item.backend) {
        add_backend(item);
      }
      if (item.nic) {
        add_nic(item);
      }
    }
    for (const Endpoint& endpoint : endpoints_) {
      warn(endpoint);
    }
    NetworkConfig network;
    for (Hub& hub : hubs_) {
      finish_hub(hub, network);
    }
    network.nics = std::move(nics_);
    check_nics(network.nics);
    check_descriptors(network);
    return network;
  }

 private:
  void problem(const NetworkItem& item, std::string_view sentence) {
    problems_.add(fmt::format("{}: {}", item.option, sentence));
  }
  void warning(const NetworkItem& item, std::string_view sentence) {
    warnings_.push_back(fmt::format("{}: {}", item.option, sentence));
  }

  bool id_is_taken(std::string_view id) const {
    return std::any_of(items_.begin(), items_.end(),
                       [&](const NetworkItem& item) { return item.backend && item.backend->id == id; }) ||
           std::any_of(endpoints_.begin(), endpoints_.end(),
                       [&](const Endpoint& one) { return one.id == id; });
  }

  std::string free_id() const {
    for (unsigned number = 0;; ++number) {
      if (std::string id = fmt::format("net{}", number); !id_is_taken(id)) {
        return id;
      }
    }
  }

  Endpoint* find(std::string_view id) {
    const auto found = std::find_if(endpoints_.begin(), endpoints_.end(),
                                    [&](const Endpoint& endpoint) { return endpoint.id == id; });
    return found == endpoints_.end() ? nullptr : &*found;
  }

  std::size_t hub_index(std::int32_t id) {
    const auto found = std::find_if(hubs_.begin(), hubs_.end(), [&](const Hub& hub) { return hub.id == id; });
    if (found == hubs_.end()) {
      hubs_.push_back({id, {}, {}});
      return hubs_.size() - 1;
    }
    return static_cast<std::size_t>(found - hubs_.begin());
  }

  static TapConfig tap_of(const Endpoint& endpoint) {
    TapConfig tap = endpoint.item->backend->tap;
    tap.option = endpoint.item->option;
    tap.id = endpoint.id;
    return tap;
  }

  void join_hub(Endpoint& endpoint, std::size_t hub, const NetworkItem& user) {
    endpoint.user = user.option;
    hubs_[hub].taps.push_back(tap_of(endpoint));
  }

  void add_backend(const NetworkItem& item) {
    const BackendOption& option = *item.backend;
    Endpoint added{option.id.empty() ? free_id() : option.id, &item, std::nullopt, {}};
    if (const Endpoint* const other = find(added.id)) {
      problem(item,
              fmt::format("id={} is already taken by {}; choose another", added.id, other->item->option));
      return;
    }
    for (const std::string& sentence : option.warnings) {
      warning(item, sentence);
    }
    if (option.hub_port) {
      added.hub = hub_index(option.hub_port->hub_id);
      if (option.hub_port->netdev) {
        added.user = item.option;
        join_port(item, *added.hub, *option.hub_port->netdev);
      }
    } else if (item.kind == NetworkItem::Kind::kNet) {
      join_hub(added, hub_index(kNetHub), item);
    }
    endpoints_.push_back(std::move(added));
  }

  /// `hubport,netdev=ID`.
  void join_port(const NetworkItem& item, std::size_t hub, std::string_view id) {
    Endpoint* const endpoint = find_free(item, id);
    if (endpoint == nullptr) {
      return;
    }
    if (endpoint->hub) {
      problem(item, fmt::format("netdev '{}' is a port of a hub itself; tapir joins no hub to another", id));
      return;
    }
    join_hub(*endpoint, hub, item);
  }

  /// The endpoint that an item names, if it is there and nobody's.
  Endpoint* find_free(const NetworkItem& item, std::string_view id) {
    Endpoint* const endpoint = find(id);
    if (endpoint == nullptr) {
      problem(item, no_netdev(item, id));
      return nullptr;
    }
    if (!endpoint->user.empty()) {
      problem(item, fmt::format("netdev '{}' is already used by {}; each NIC needs a netdev of its own", id,
                                endpoint->user));
      return nullptr;
    }
    return endpoint;
  }

  std::string no_netdev(const NetworkItem& user, std::string_view id) const {
    std::vector<std::string_view> ids;
    for (const NetworkItem& item : items_) {
      if (item.backend && item.backend->id == id && &item != &user) {
        return fmt::format("netdev '{0}' comes after it; give {1} before", id, item.option);
      }
    }
    ids.reserve(endpoints_.size());
    for (const Endpoint& endpoint : endpoints_) {
      ids.emplace_back(endpoint.id);
    }
    if (const auto near = nearest(id, ids)) {
      return fmt::format("there is no netdev '{}'; did you mean '{}'?", id, *near);
    }
    return fmt::format("there is no netdev '{0}'; add -netdev bridge,id={1},br=br0", id,
                       id.empty() ? "n0" : id);
  }

  void add_nic(const NetworkItem& item) {
    NicConfig nic = item.nic->nic;
    nic.option = item.option;
    if (item.kind == NetworkItem::Kind::kNet) {
      check_name(item, nic.id);
    }
    const std::size_t index = nics_.size();
    if (item.kind == NetworkItem::Kind::kNic) {
      if (!endpoints_.empty() && endpoints_.back().item == &item) {
        join_nic(nic, index, endpoints_.back());
      }
    } else if (item.nic->netdev) {
      if (Endpoint* const endpoint = find_free(item, *item.nic->netdev)) {
        join_nic(nic, index, *endpoint);
      }
    } else if (item.kind == NetworkItem::Kind::kNet) {
      nic.hub = hub_index(kNetHub);
      hubs_[*nic.hub].nics.push_back(index);
    } else {
      warning(item, "the NIC has no netdev, so it reaches nothing; add netdev=ID and -netdev bridge,id=ID");
    }
    nics_.push_back(std::move(nic));
  }

  /// Names of -net nic and ids of backends are one kind to QEMU.
  void check_name(const NetworkItem& item, std::string_view name) {
    const auto same = std::find_if(items_.begin(), items_.end(), [&](const NetworkItem& other) {
      return other.backend && !name.empty() && other.backend->id == name;
    });
    if (same != items_.end()) {
      problem(item, fmt::format("id={} is already taken by {}; choose another", name, same->option));
    }
  }

  void join_nic(NicConfig& nic, std::size_t index, Endpoint& endpoint) {
    if (!endpoint.user.empty()) {
      problems_.add(
          fmt::format("{}: hubport with netdev= joins that backend to the hub, so there is no place for "
                      "the NIC; leave netdev= out",
                      nic.option));
      return;
    }
    endpoint.user = nic.option;
    if (endpoint.hub) {
      nic.hub = endpoint.hub;
      hubs_[*endpoint.hub].nics.push_back(index);
      return;
    }
    nic.backend = tap_of(endpoint);
  }

  void warn(const Endpoint& endpoint) {
    if (!endpoint.user.empty()) {
      return;
    }
    if (endpoint.hub) {
      warning(
          *endpoint.item,
          fmt::format("nothing is joined to this port; add -device virtio-net-pci,netdev={}", endpoint.id));
    } else {
      warnings_.push_back(fmt::format("{} has no NIC and is not opened; add -device virtio-net-pci,netdev={}",
                                      endpoint.item->option, endpoint.id));
    }
  }

  void finish_hub(Hub& hub, NetworkConfig& network) {
    for (const std::size_t index : hub.nics) {
      nics_[index].hub.reset();
    }
    if (hub.taps.size() == 1 && hub.nics.size() == 1) {
      nics_[hub.nics.front()].backend = std::move(hub.taps.front());
      return;
    }
    if (hub.taps.size() == 1 && hub.nics.empty()) {
      warnings_.push_back(
          fmt::format("{} has no NIC and is not opened; add -net nic,model=virtio", hub.taps.front().option));
      return;
    }
    if (hub.taps.empty() && !hub.nics.empty()) {
      warnings_.push_back(
          fmt::format("{}: hub {} is not connected to the host's network; add -net bridge or another backend",
                      nics_[hub.nics.front()].option, hub.id));
    } else if (hub.nics.empty() && !hub.taps.empty()) {
      warnings_.push_back(fmt::format("{}: hub {} has no NIC and joins its taps only; add -net nic",
                                      hub.taps.front().option, hub.id));
    }
    if (hub.taps.size() + hub.nics.size() < 2) {
      return;
    }
    for (const TapConfig& tap : hub.taps) {
      if (tap.queues > 1) {
        problems_.add(
            fmt::format("{}: hub {} has one queue, so a tap with {} cannot be on it; leave queues= out",
                        tap.option, hub.id, tap.queues));
      }
    }
    for (const std::size_t index : hub.nics) {
      nics_[index].hub = network.hubs.size();
    }
    network.hubs.push_back({hub.id, std::move(hub.taps)});
  }

  void check_nics(const std::vector<NicConfig>& nics) {
    for (auto nic = nics.begin(); nic != nics.end(); ++nic) {
      if (nic->backend && nic->backend->queues > 1 && !nic->multi_queue) {
        warnings_.push_back(
            fmt::format("{}: the NIC has no mq=on, so the first of the {} queues of its tap is used; -device "
                        "virtio-net-pci,mq=on uses them all",
                        nic->backend->option, nic->backend->queues));
      }
      if (nic->multi_queue && (nic->features_off >> VIRTIO_NET_F_CTRL_VQ & 1U) != 0) {
        warnings_.push_back(fmt::format(
            "{}: mq=on has no effect with ctrl_vq=off, for a guest says on the control virtqueue how many "
            "pairs it uses",
            nic->option));
      }
      for (auto other = nics.begin(); other != nic; ++other) {
        if (!nic->id.empty() && nic->id == other->id) {
          problems_.add(fmt::format("{}: id={} is already taken by {}; choose another", nic->option, nic->id,
                                    other->option));
        }
        if (nic->address && nic->address == other->address) {
          problems_.add(fmt::format("{}: addr={:x}: the slot is already taken by {}; choose another",
                                    nic->option, nic->address->slot, other->option));
        }
        if (nic->bootindex && nic->bootindex == other->bootindex) {
          problems_.add(fmt::format("{}: bootindex={} is already taken by {}; choose another", nic->option,
                                    *nic->bootindex, other->option));
        }
        if (nic->mac && nic->mac == other->mac) {
          warnings_.push_back(
              fmt::format("{}: the address {} is also that of {}; on one network each NIC needs "
                          "its own",
                          nic->option, nic->mac->to_string(), other->option));
        }
      }
    }
  }

  void check_descriptors(const NetworkConfig& network) {
    std::vector<std::pair<int, std::string>> used;
    const auto check = [&](const TapConfig& tap) {
      for (const int fd : tap.fds) {
        const auto same =
            std::find_if(used.begin(), used.end(), [&](const auto& one) { return one.first == fd; });
        if (same != used.end()) {
          problems_.add(fmt::format("{}: fd={} is already used by {}", tap.option, fd, same->second));
        }
        used.emplace_back(fd, tap.option);
      }
    };
    for (const NicConfig& nic : network.nics) {
      if (nic.backend) {
        check(*nic.backend);
      }
    }
    for (const HubConfig& hub : network.hubs) {
      std::for_each(hub.taps.begin(), hub.taps.end(), check);
    }
  }

  const std::span<const NetworkItem> items_;
  Problems& problems_;
  std::vector<std::string>& warnings_;
  std::vector<Endpoint> endpoints_;
  std::vector<Hub> hubs_;
  std::vector<NicConfig> nics_;
};

}  // namespace

NetworkConfig resolve_network(std::span<const NetworkItem> items, Problems& problems,
                              std::vector<std::string>& warnings) {
  return Resolver(items, problems, warnings).run();
}

}  // namespace tapir::vmm
