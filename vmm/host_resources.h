// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "net/base/event_fd.h"
#include "net/base/result.h"
#include "net/base/unique_fd.h"
#include "net/mac_address.h"
#include "virtio/guest_memory.h"
#include "virtio/io_thread.h"
#include "vmm/boot/image_file.h"
#include "vmm/kvm.h"
#include "vmm/machine_config.h"
#include "vmm/serial_output.h"

namespace tapir::vmm {

/// The host's side of a NIC: its tap, served by an I/O thread of its own.
struct HostNic {
  NicConfig config;
  net::MacAddress mac;
  std::unique_ptr<virtio::IoThread> io;
};

/// What a guest uses of the host. Opened once, before the guest runs and with all that can go wrong for an
/// operator, and kept while the guest reboots: nothing has to be opened again when the sandbox has closed.
/// Control thread.
struct HostResources {
  [[nodiscard]] static Result<std::unique_ptr<HostResources>> open(const MachineConfig& config);

  Kvm kvm;
  boot::BootFiles files;
  virtio::GuestMemory memory;
  EventFd serial_input_space;  ///< the guest has read from a serial port that was full
  UniqueFd rtc_timer;
  UniqueFd serial_file;                         ///< of `-serial file:`
  std::unique_ptr<SerialOutput> serial_output;  ///< null when the port's output goes nowhere
  std::vector<HostNic> nics;
};

/// The address of NIC number `index` when the operator gave none: of a named VM always the same on this host
/// and for this user (a hash of the machine's id, the user, the name and the index), else random.
net::MacAddress default_mac(std::string_view vm_name, unsigned index);

}  // namespace tapir::vmm
