// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "net/base/event_fd.h"
#include "net/base/result.h"
#include "vmm/acpi_pm.h"
#include "vmm/bus.h"
#include "vmm/exit_device.h"
#include "vmm/host_resources.h"
#include "vmm/i8042.h"
#include "vmm/ioeventfd.h"
#include "vmm/irq_routing.h"
#include "vmm/irqfd.h"
#include "vmm/kvm.h"
#include "vmm/machine_config.h"
#include "vmm/machine_control.h"
#include "vmm/nic.h"
#include "vmm/nic_statistics.h"
#include "vmm/pci_host.h"
#include "vmm/pvpanic.h"
#include "vmm/reset_port.h"
#include "vmm/rtc.h"
#include "vmm/serial.h"
#include "vmm/vcpu.h"

namespace tapir::vmm {

/// One power-on of the guest's machine: made when the guest starts and again each time it reboots, over the
/// same HostResources. So everything the guest can have changed (processors, interrupt controllers, devices,
/// memory) is in its power-on state by construction, and nothing has to be remembered to be reset.
///
///     TAPIR_TRY_ASSIGN(auto machine, Machine::create(config, host, on_end));
///     TAPIR_TRY(machine->start());
///     …                                  // on_end() was called
///     machine->stop();                   // no vCPU runs, no frame is in flight
///     machine->outcome();
///
/// Control thread, except for end(). Borrows the configuration and the resources.
class Machine final : public MachineControl {
 public:
  struct Outcome {
    EndReason reason = EndReason::kQuit;
    std::string detail;
    std::uint8_t guest_status = 0;
  };

  /// Builds the platform, loads the kernel and makes the vCPUs. `on_end` is called once, on any thread, when
  /// the guest is done. Error: whatever the operator has to know, one sentence.
  [[nodiscard]] static Result<std::unique_ptr<Machine>> create(const MachineConfig& config,
                                                               HostResources& host,
                                                               std::function<void()> on_end);
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;
  ~Machine() override;

  /// Lets the guest run. Error: a thread cannot be made.
  [[nodiscard]] Status start();
  /// Stops the vCPUs and the devices; harmless when already done.
  void stop();

  void end(EndReason reason, std::string detail = {}, std::uint8_t guest_status = 0) override;
  /// The guest has panicked: whatever it does to end the run from now on counts as that, and the power
  /// button, Ctrl-A x and so on as before. Any thread.
  void note_panic();
  /// Of a machine that ended.
  Outcome outcome() const;
  /// Of a machine that was stopped: a line for each vCPU.
  std::vector<std::string> describe_vcpus() const;
  /// Likewise: adds the number of exits of all vCPUs, by the name of the reason.
  void add_exit_counts(std::map<std::string, std::uint64_t>& counts) const;

  /// Presses the ACPI power button. Any thread while the machine exists.
  void press_power_button() { acpi_pm_->press_power_button(); }
  /// COM1, or nullptr under `-serial none`.
  Serial* serial() { return serial_.get(); }
  /// The NICs' names, peers and counters, in order. Borrows from the machine and from its resources.
  std::vector<NicStatistics> nic_statistics() const;
  /// HostResources::rtc_timer is readable.
  void rtc_timer_expired() { rtc_->timer_expired(); }

 private:
  Machine(const MachineConfig& config, HostResources& host, Vm vm, std::unique_ptr<IrqRouting> routing,
          std::function<void()> on_end);

  Status add_platform_devices();
  Status add_nics();
  Status load_kernel();
  Status add_vcpus();

  const MachineConfig& config_;
  HostResources& host_;
  const std::function<void()> on_end_;

  // Destroyed from the last to the first: vCPUs, then devices with the interrupts and doorbells that they
  // use, then the buses, and the Vm, on whose descriptor all of these work, at the end.
  Vm vm_;
  std::unique_ptr<IrqRouting> routing_;
  LevelLines lines_;
  IoeventfdDoorbell doorbell_;
  Bus ports_;
  Bus memory_bus_;

  std::unique_ptr<virtio::LevelInterrupt> sci_;
  std::unique_ptr<virtio::LevelInterrupt> com1_line_;
  std::unique_ptr<virtio::Interrupt> rtc_line_;
  std::unique_ptr<virtio::Interrupt> keyboard_line_;
  std::unique_ptr<AcpiPm> acpi_pm_;
  std::unique_ptr<Serial> serial_;
  std::unique_ptr<Rtc> rtc_;
  std::unique_ptr<I8042> i8042_;
  Pvpanic pvpanic_;
  ResetPort reset_port_;
  std::vector<std::unique_ptr<ExitDevice>> exit_devices_;
  std::vector<std::unique_ptr<Nic>> nics_;
  PciHost pci_host_;  ///< after the functions that it borrows
  std::vector<std::unique_ptr<Vcpu>> vcpus_;

  mutable std::mutex mutex_;  ///< of what follows
  bool panicked_ = false;
  std::optional<Outcome> outcome_;
};

}  // namespace tapir::vmm
