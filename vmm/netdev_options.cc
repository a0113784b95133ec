// SPDX-License-Identifier: Apache-2.0
#include "vmm/netdev_options.h"

#include <fmt/format.h>
#include <net/if.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <climits>
#include <utility>

#include "net/base/parse.h"
#include "vmm/key_value_list.h"

namespace tapir::vmm {
namespace {

using Kind = KeySpec::Kind;

constexpr std::array<KeySpec, 7> kTapKeys = {{{"type", Kind::kValue},
                                              {"id", Kind::kValue},
                                              {"ifname", Kind::kValue},
                                              {"fd", Kind::kValue},
                                              {"vnet_hdr", Kind::kFlag},
                                              {"script", Kind::kValue},
                                              {"downscript", Kind::kValue}}};
constexpr std::array<KeySpec, 4> kDeviceKeys = {
    {{"driver", Kind::kValue}, {"netdev", Kind::kValue}, {"mac", Kind::kValue}, {"id", Kind::kValue}}};
constexpr std::array<KeySpec, 5> kNetNicKeys = {{{"type", Kind::kValue},
                                                 {"netdev", Kind::kValue},
                                                 {"model", Kind::kValue},
                                                 {"macaddr", Kind::kValue},
                                                 {"id", Kind::kValue}}};

struct ModelName {
  std::string_view name;
  NicModel model;
};
constexpr std::array<ModelName, 5> kModels = {{{"virtio-net-pci", NicModel::kVirtioNetPci},
                                               {"virtio-net-device", NicModel::kVirtioNetDevice},
                                               {"virtio-net", NicModel::kVirtioNetPci},
                                               {"virtio-net-pci-non-transitional", NicModel::kVirtioNetPci},
                                               {"virtio", NicModel::kVirtioNetPci}}};
constexpr std::size_t kDeviceModels = 4;  ///< "virtio" is a model of -net nic, not a driver of -device

std::optional<NicModel> find_model(std::string_view name, std::size_t models) {
  for (std::size_t i = 0; i < models; ++i) {
    if (kModels[i].name == name) {
      return kModels[i].model;
    }
  }
  return std::nullopt;
}

/// What stands before the first comma: the type or driver, if the argument begins with one.
std::string_view leading_word(std::string_view argument, std::string_view key) {
  const std::string_view first = argument.substr(0, argument.find(','));
  const std::size_t equals = first.find('=');
  if (equals == std::string_view::npos) {
    return first;
  }
  return first.substr(0, equals) == key ? first.substr(equals + 1) : std::string_view();
}

bool is_identifier(std::string_view text) {
  const auto letter = [](char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0; };
  const auto inner = [&](char c) {
    return letter(c) || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
  };
  return !text.empty() && letter(text.front()) && std::all_of(text.begin(), text.end(), inner);
}

Status check_identifier(std::string_view id) {
  if (!is_identifier(id)) {
    return fail(fmt::format(
        "id={}: an id begins with a letter and goes on with letters, digits, '-', '.' and '_'", id));
  }
  return {};
}

/// The kernel's rule for interface names (dev_valid_name in net/core/dev.c).
Status check_interface_name(std::string_view name) {
  const bool bad_character = std::any_of(name.begin(), name.end(), [](char c) {
    return c == '/' || c == ':' || std::isspace(static_cast<unsigned char>(c)) != 0;
  });
  if (name.empty() || name.size() >= IFNAMSIZ || name == "." || name == ".." || bad_character) {
    return fail(fmt::format("ifname={}: an interface name has 1 to {} characters without blanks, '/' and ':'",
                            name, IFNAMSIZ - 1));
  }
  return {};
}

Result<std::optional<net::MacAddress>> parse_mac(const KeyValueList& list, std::string_view key) {
  const auto text = list.find(key);
  if (!text) {
    return std::optional<net::MacAddress>();
  }
  const auto mac = net::MacAddress::parse(*text);
  if (!mac) {
    return fail(fmt::format(
        "{}={} is not an Ethernet address; it has six hexadecimal bytes, for example 52:54:00:12:34:56", key,
        *text));
  }
  if (mac->is_multicast()) {
    return fail(
        fmt::format("{}={} is a multicast address (odd first byte), which a NIC cannot have; for example "
                    "52:54:00:12:34:56 is one",
                    key, *text));
  }
  if (mac->is_zero()) {
    return std::optional<net::MacAddress>();  // QEMU: the same as not given
  }
  return mac;
}

Status check_scripts(const KeyValueList& list) {
  for (const std::string_view key : {"script", "downscript"}) {
    const auto value = list.find(key);
    if (!value || (*value != "no" && !value->empty())) {
      return fail(fmt::format(
          "{} scripts are not supported yet; set the interface up beforehand and add script=no,downscript=no",
          key == "script" ? "interface" : "interface shutdown"));
    }
  }
  return {};
}

/// QEMU's rules of combination for one tap (net/tap.c), as far as the keys exist here.
Result<TapConfig> parse_tap(const KeyValueList& list) {
  TapConfig tap;
  tap.id = list.find("id").value_or("");
  if (const auto fd = list.find("fd")) {
    if (list.has("ifname") || list.has("script") || list.has("downscript") || list.has("vnet_hdr")) {
      return fail(
          "ifname=, script=, downscript= and vnet_hdr= cannot be given with fd=: they were settled when the "
          "descriptor was opened");
    }
    const auto number = parse_unsigned(*fd, INT_MAX);
    if (!number) {
      return fail(
          fmt::format("fd={}: a file descriptor is a number, for example fd=3 with 3<>/dev/tap5", *fd));
    }
    tap.fd = static_cast<int>(*number);
    return tap;
  }
  const auto ifname = list.find("ifname");
  if (!ifname) {
    return fail("ifname= or fd= is missing; for example ifname=tap0,script=no,downscript=no");
  }
  TAPIR_TRY(check_interface_name(*ifname));
  tap.ifname = *ifname;
  TAPIR_TRY_ASSIGN(tap.vnet_header, list.find_flag("vnet_hdr"));
  TAPIR_TRY(check_scripts(list));
  return tap;
}

tl::unexpected<Error> unknown_device(std::string_view driver) {
  std::array<std::string_view, kDeviceModels> names;
  std::transform(kModels.begin(), kModels.begin() + kDeviceModels, names.begin(),
                 [](const ModelName& model) { return model.name; });
  if (const auto near = nearest(driver, names)) {
    return fail(fmt::format("tapir has no device '{}'; did you mean '{}'?", driver, *near));
  }
  return fail(fmt::format("tapir has no device '{}'; it has virtio-net-pci and virtio-net-device", driver));
}

tl::unexpected<Error> unknown_backend(std::string_view type) {
  return fail(fmt::format("tapir has no network backend '{}'; it has tap", type));
}

}  // namespace

Status NetworkOptions::add_netdev(std::string_view argument) {
  if (!argument.empty() && argument.front() == '{') {
    return fail("the JSON form is not supported; write tap,id=n0,ifname=tap0,script=no,downscript=no");
  }
  const std::string_view type = leading_word(argument, "type");
  if (type != "tap") {
    return unknown_backend(type);
  }
  TAPIR_TRY_ASSIGN(const KeyValueList list, KeyValueList::parse(argument, kTapKeys, "type"));
  const auto id = list.find("id");
  if (!id) {
    return fail("id= is missing; for example tap,id=n0,ifname=tap0,script=no,downscript=no");
  }
  TAPIR_TRY(check_identifier(*id));
  for (const Backend& other : backends_) {
    if (other.tap.id == *id) {
      return fail(fmt::format("id={} is already taken by {}", *id, other.option));
    }
  }
  TAPIR_TRY_ASSIGN(TapConfig tap, parse_tap(list));
  backends_.push_back({fmt::format("-netdev {}", argument), std::move(tap), false});
  return {};
}

Status NetworkOptions::add_device(std::string_view argument) {
  const std::string_view driver = leading_word(argument, "driver");
  const auto model = find_model(driver, kDeviceModels);
  if (!model) {
    return unknown_device(driver);
  }
  TAPIR_TRY_ASSIGN(const KeyValueList list, KeyValueList::parse(argument, kDeviceKeys, "driver"));
  Nic nic;
  nic.option = fmt::format("-device {}", argument);
  nic.config.model = *model;
  if (const auto id = list.find("id")) {
    TAPIR_TRY(check_identifier(*id));
    nic.config.id = *id;
    TAPIR_TRY(check_new_nic_id(nic.config.id));
  }
  const auto netdev = list.find("netdev");
  if (!netdev) {
    return fail(
        "netdev= is missing; for example -netdev tap,id=n0,ifname=tap0,script=no,downscript=no -device "
        "virtio-net-pci,netdev=n0");
  }
  nic.netdev = *netdev;
  TAPIR_TRY_ASSIGN(nic.config.mac, parse_mac(list, "mac"));
  nics_.push_back(std::move(nic));
  return {};
}

Status NetworkOptions::add_net(std::string_view argument) {
  const std::string_view type = leading_word(argument, "type");
  if (argument == "none") {
    return {};
  }
  if (type == "nic") {
    return add_net_nic(argument);
  }
  if (type == "tap") {
    return add_net_tap(argument);
  }
  return unknown_backend(type);
}

Status NetworkOptions::add_net_nic(std::string_view argument) {
  TAPIR_TRY_ASSIGN(const KeyValueList list, KeyValueList::parse(argument, kNetNicKeys, "type"));
  Nic nic;
  nic.option = fmt::format("-net {}", argument);
  const std::string_view name = list.find("model").value_or("virtio");
  const auto model = find_model(name, kModels.size());
  if (!model) {
    return fail(fmt::format("tapir has no NIC model '{}'; use model=virtio", name));
  }
  nic.config.model = *model;
  if (const auto id = list.find("id")) {
    TAPIR_TRY(check_identifier(*id));
    nic.config.id = *id;
    TAPIR_TRY(check_new_nic_id(nic.config.id));
  }
  if (const auto netdev = list.find("netdev")) {
    nic.netdev = *netdev;
  }
  TAPIR_TRY_ASSIGN(nic.config.mac, parse_mac(list, "macaddr"));
  nics_.push_back(std::move(nic));
  return {};
}

Status NetworkOptions::add_net_tap(std::string_view argument) {
  TAPIR_TRY_ASSIGN(const KeyValueList list, KeyValueList::parse(argument, kTapKeys, "type"));
  if (const auto id = list.find("id")) {
    TAPIR_TRY(check_identifier(*id));
  }
  TAPIR_TRY_ASSIGN(TapConfig tap, parse_tap(list));
  backends_.push_back({fmt::format("-net {}", argument), std::move(tap), true});
  return {};
}

Status NetworkOptions::add_nic(std::string_view argument) {
  if (argument == "none") {
    return {};
  }
  return fail(
      "only -nic none is supported yet; write -netdev tap,id=n0,ifname=tap0,script=no,downscript=no -device "
      "virtio-net-pci,netdev=n0");
}

Status NetworkOptions::check_new_nic_id(const std::string& id) const {
  for (const Nic& other : nics_) {
    if (other.config.id == id) {
      return fail(fmt::format("id={} is already taken by {}", id, other.option));
    }
  }
  return {};
}

Result<std::size_t> NetworkOptions::find_backend(const Nic& nic) const {
  std::vector<std::string_view> ids;
  for (std::size_t i = 0; i < backends_.size(); ++i) {
    const Backend& backend = backends_[i];
    if (nic.netdev ? !backend.hub && backend.tap.id == *nic.netdev : backend.hub) {
      return i;
    }
    if (!backend.hub) {
      ids.push_back(backend.tap.id);
    }
  }
  if (!nic.netdev) {
    return fail(fmt::format("{}: the NIC has no backend; add -net tap,ifname=tap0,script=no,downscript=no",
                            nic.option));
  }
  if (const auto near = nearest(*nic.netdev, ids)) {
    return fail(
        fmt::format("{}: there is no netdev '{}'; did you mean '{}'?", nic.option, *nic.netdev, *near));
  }
  return fail(
      fmt::format("{}: there is no netdev '{}'; add -netdev tap,id={},ifname=tap0,script=no,downscript=no",
                  nic.option, *nic.netdev, *nic.netdev));
}

Status NetworkOptions::check_hub() const {
  const auto taps = std::count_if(backends_.begin(), backends_.end(), [](const Backend& b) { return b.hub; });
  const auto nics = std::count_if(nics_.begin(), nics_.end(), [](const Nic& n) { return !n.netdev; });
  if (taps > 1 || nics > 1) {
    return fail(
        "-net joins one NIC and one backend; write each further pair as -netdev tap,id=ID,... -device "
        "virtio-net-pci,netdev=ID");
  }
  return {};
}

Status NetworkOptions::check_descriptors() const {
  for (auto one = backends_.begin(); one != backends_.end(); ++one) {
    const auto same = std::find_if(one + 1, backends_.end(), [&](const Backend& other) {
      return one->tap.fd && other.tap.fd == one->tap.fd;
    });
    if (same != backends_.end()) {
      return fail(fmt::format("{}: fd={} is already used by {}", same->option, *one->tap.fd, one->option));
    }
  }
  return {};
}

Result<std::vector<NicConfig>> NetworkOptions::resolve(std::vector<std::string>& warnings) const {
  TAPIR_TRY(check_hub());
  TAPIR_TRY(check_descriptors());
  std::vector<const Nic*> user_of(backends_.size(), nullptr);
  std::vector<NicConfig> resolved;
  for (const Nic& nic : nics_) {
    TAPIR_TRY_ASSIGN(const std::size_t index, find_backend(nic));
    if (user_of[index] != nullptr) {
      return fail(fmt::format("{}: netdev '{}' is already used by {}; each NIC needs a netdev of its own",
                              nic.option, *nic.netdev, user_of[index]->option));
    }
    user_of[index] = &nic;
    for (const Nic& other : nics_) {
      if (&other == &nic) {
        break;
      }
      if (nic.config.mac && other.config.mac == nic.config.mac) {
        return fail(fmt::format("{}: the address {} is already used by {}; give each NIC its own", nic.option,
                                nic.config.mac->to_string(), other.option));
      }
    }
    resolved.push_back(nic.config);
    resolved.back().backend = backends_[index].tap;
  }
  for (std::size_t i = 0; i < backends_.size(); ++i) {
    if (user_of[i] == nullptr) {
      warnings.push_back(fmt::format("{} has no NIC and is not opened; add -device virtio-net-pci,netdev=ID",
                                     backends_[i].option));
    }
  }
  return resolved;
}

}  // namespace tapir::vmm
