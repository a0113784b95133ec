// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "net/base/event_fd.h"
#include "net/base/result.h"
#include "net/base/unique_fd.h"
#include "virtio/guest_memory.h"
#include "vmm/boot/image_file.h"
#include "vmm/console_watch.h"
#include "vmm/host_network.h"
#include "vmm/kvm.h"
#include "vmm/machine_config.h"
#include "vmm/serial_file.h"
#include "vmm/serial_output.h"

namespace tapir::vmm {

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
  std::unique_ptr<SerialFile> serial_file;      ///< of `-serial file:`, else null; to be committed
  std::unique_ptr<SerialOutput> serial_output;  ///< null when the port's output goes nowhere
  HostNetwork network;
  std::unique_ptr<ConsoleWatch> console;  ///< what the serial port prints to; its owner sets it
};

}  // namespace tapir::vmm
