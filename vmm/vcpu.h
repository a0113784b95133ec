// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <linux/kvm.h>
#include <pthread.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>

#include "net/base/mapping.h"
#include "net/base/result.h"
#include "net/base/unique_fd.h"
#include "vmm/boot/entry.h"
#include "vmm/kvm.h"
#include "vmm/vcpu_exit.h"

namespace tapir::vmm {

/// One virtual processor and its thread, "vcpu0" to "vcpu63". Created in its power-on state by the control
/// thread; its number is its APIC id. Borrows the Vm and the buses, and is destroyed before them.
///
///     for (unsigned i = 0; i < cpus; ++i) {
///       TAPIR_TRY_ASSIGN(auto vcpu, Vcpu::create(kvm, vm, i, vcpu_cpuid(table, i, cpus), buses));
///       vcpus.push_back(std::move(vcpu));
///     }
///     TAPIR_TRY(vcpus[0]->set_entry(entry));
///     for (auto& vcpu : vcpus) { TAPIR_TRY(vcpu->start()); }
///     …
///     for (auto& vcpu : vcpus) { vcpu->request_stop(); }   // all first, so that they stop side by side
///     for (auto& vcpu : vcpus) { vcpu->join(); }
///
/// A vCPU that stopped does not start again: a reboot makes new ones.
class Vcpu {
 public:
  [[nodiscard]] static Result<std::unique_ptr<Vcpu>> create(const Kvm& kvm, const Vm& vm, unsigned number,
                                                            std::span<const kvm_cpuid_entry2> cpuid,
                                                            const VcpuBuses& buses);
  Vcpu(const Vcpu&) = delete;
  Vcpu& operator=(const Vcpu&) = delete;
  /// Stops the thread and waits for it.
  ~Vcpu();

  /// Where the boot CPU begins. Before start(), and not for the others: they wait for their start-up IPI.
  [[nodiscard]] Status set_entry(const boot::EntryState& entry);

  /// Starts the thread; one that was asked to stop before ends at once, which happens when the first vCPUs
  /// end the guest while the others are being started. Error: the host has no room for another.
  [[nodiscard]] Status start();

  /// Asks the thread to leave the guest and end, whatever the guest is doing; returns at once. Any thread,
  /// also while another is in start() or join(), but no signal handler; harmless when it ended or never
  /// started.
  void request_stop();
  /// Waits until the thread has ended, and with it every bus access of it. Not on the vCPU's own thread.
  void join();

  /// Its registers and the code at RIP on one line. Its own thread, or once it has ended.
  std::string describe_state() const;
  /// How often KVM_RUN returned for each reason (KVM_EXIT_…; the last counts all beyond). Once it has ended.
  std::span<const std::uint64_t> exit_counts() const { return exits_; }

  /// Borrowed, for what only the control thread asks of a stopped vCPU.
  int fd() const { return fd_.get(); }

 private:
  Vcpu(const Vm& vm, unsigned number, UniqueFd fd, Mapping run, const VcpuBuses& buses);

  kvm_run& run() const { return *static_cast<kvm_run*>(run_.address()); }
  void run_thread();
  void loop();
  std::size_t read_code(const kvm_regs& regs, const kvm_sregs& sregs, std::span<std::byte> into) const;

  const Vm& vm_;
  const unsigned number_;
  UniqueFd fd_;
  Mapping run_;
  const VcpuBuses buses_;
  std::array<std::uint64_t, 64> exits_{};
  std::atomic<bool> stop_{false};
  std::thread thread_;  ///< control thread only
  std::mutex
      mutex_;  ///< guards what follows; held so long that the thread cannot be gone when it is signalled
  std::optional<pthread_t> running_;
};

}  // namespace tapir::vmm
