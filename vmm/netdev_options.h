// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "net/base/result.h"
#include "vmm/machine_config.h"

namespace tapir::vmm {

/// Collects -netdev, -device, -net and -nic as they come and then joins NICs to backends by QEMU's rules:
///
///     NetworkOptions network;
///     network.add_netdev("bridge,id=n0,br=br0");
///     network.add_device("virtio-net-pci,netdev=n0");
///     resolve -> one NicConfig; order of the NICs = order of their options
///
/// Each add function takes the whole argument of its option. Errors do not repeat that argument (the caller
/// puts it in front); errors of resolve() name the option that they are about themselves. Pure: opens
/// nothing.
class NetworkOptions {
 public:
  [[nodiscard]] Status add_netdev(std::string_view argument);
  [[nodiscard]] Status add_device(std::string_view argument);
  [[nodiscard]] Status add_net(std::string_view argument);
  [[nodiscard]] Status add_nic(std::string_view argument);

  /// Every NIC with its backend. Error: a netdev that does not exist or has two NICs, a NIC without backend,
  /// more than one -net pair, one address or descriptor given twice. Warning: a backend without a NIC (left
  /// out), a key without effect, queues that no NIC has use for.
  [[nodiscard]] Result<std::vector<NicConfig>> resolve(std::vector<std::string>& warnings) const;

 private:
  struct Backend {
    TapConfig tap;
    std::string warning;  ///< empty: none
    bool pair = false;    ///< came by -net, and is for the NIC that came by -net
  };
  struct Nic {
    NicConfig config;                    ///< all but the backend
    std::optional<std::string> netdev;   ///< unset: the backend of -net
    std::optional<std::size_t> backend;  ///< of -nic, which brings its own
  };

  [[nodiscard]] Status add_backend(Backend backend);
  [[nodiscard]] Status add_card(Nic nic);
  [[nodiscard]] Result<std::size_t> find_backend(const Nic& nic) const;
  [[nodiscard]] Status check_pair() const;
  [[nodiscard]] Status check_descriptors() const;
  [[nodiscard]] Status check_address(const Nic& nic) const;
  static void warn(const Backend& backend, bool used, std::vector<std::string>& warnings);

  std::vector<Backend> backends_;
  std::vector<Nic> nics_;
};

}  // namespace tapir::vmm
