// SPDX-License-Identifier: Apache-2.0
#include "vmm/vcpu.h"

#include <fmt/format.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <system_error>

#include "net/base/check.h"
#include "vmm/platform.h"
#include "vmm/vcpu_state.h"

namespace tapir::vmm {
namespace {

/// Wakes a thread out of KVM_RUN. The handler does nothing: that the signal arrives is what ends the call.
int kick_signal() {
  return SIGRTMIN;
}

void install_kick_handler() {
  struct sigaction action {};
  action.sa_handler = [](int) {};
  // Other system calls of a device's handler go on; KVM_RUN ends with EINTR all the same.
  action.sa_flags = SA_RESTART;
  CHECK(::sigaction(kick_signal(), &action, nullptr) == 0);
}

}  // namespace

Result<std::unique_ptr<Vcpu>> Vcpu::create(const Kvm& kvm, const Vm& vm, unsigned number,
                                           std::span<const kvm_cpuid_entry2> cpuid, const VcpuBuses& buses) {
  CHECK(number < platform::kMaxCpus);
  if (number >= kvm.max_cpus()) {
    return fail(fmt::format("this host's KVM gives a machine at most {} vCPUs", kvm.max_cpus()));
  }
  TAPIR_TRY_ASSIGN(const int descriptor,
                   kvm_ioctl(vm.fd(), KVM_CREATE_VCPU, "KVM_CREATE_VCPU", std::uintptr_t{number}));
  UniqueFd fd(descriptor);
  const std::size_t bytes = kvm.vcpu_mapping_bytes();
  void* address = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (address == MAP_FAILED) {
    return fail_errno("map kvm_run");
  }
  Mapping run(address, bytes);
  TAPIR_TRY(set_power_on_state(fd.get(), number, cpuid));
  return std::unique_ptr<Vcpu>(new Vcpu(vm, number, std::move(fd), std::move(run), buses));
}

Vcpu::Vcpu(const Vm& vm, unsigned number, UniqueFd fd, Mapping run, const VcpuBuses& buses)
    : vm_(vm), number_(number), fd_(std::move(fd)), run_(std::move(run)), buses_(buses) {}

Vcpu::~Vcpu() {
  request_stop();
  join();
}

Status Vcpu::set_entry(const boot::EntryState& entry) {
  return set_entry_state(fd(), entry);
}

Status Vcpu::start() {
  CHECK(!thread_.joinable());
  install_kick_handler();
  try {
    thread_ = std::thread([this] { run_thread(); });
  } catch (const std::system_error& error) {
    return fail(fmt::format("cannot start the thread of vCPU {}: {}", number_, error.what()),
                error.code().value());
  }
  return {};
}

void Vcpu::request_stop() {
  stop_.store(true);
  // Set before the signal, so that no wake-up is lost: a signal that arrives before KVM_RUN is entered finds
  // the flag that makes it return at once, and one that arrives inside ends it (api.rst, 5. The kvm_run
  // structure).
  std::atomic_ref<__u8>(run().immediate_exit).store(1);
  const std::lock_guard lock(mutex_);
  if (running_) {
    ::pthread_kill(*running_, kick_signal());
  }
}

void Vcpu::join() {
  if (thread_.joinable()) {
    thread_.join();
  }
}

void Vcpu::run_thread() {
  const std::string name = fmt::format("vcpu{}", number_);
  ::pthread_setname_np(::pthread_self(), name.c_str());
  {
    const std::lock_guard lock(mutex_);
    running_ = ::pthread_self();
  }
  loop();
  const std::lock_guard lock(mutex_);
  running_.reset();
}

void Vcpu::loop() {
  const auto state = [this] { return describe_state(); };
  while (!stop_.load()) {
    if (::ioctl(fd(), KVM_RUN, 0) < 0) {
      // EINTR: asked to stop, or a signal of no concern. EAGAIN: a waiting vCPU was sent its start-up IPI.
      const int code = errno;
      if (code == EINTR || code == EAGAIN) {
        continue;
      }
      const Error error = fail_errno("KVM_RUN", code).value();
      buses_.control.end(EndReason::kInternalError, error.message() + "; " + describe_state());
      return;
    }
    ++exits_[std::min<std::size_t>(run().exit_reason, exits_.size() - 1)];
    if (handle_exit(run(), buses_, state) == AfterExit::kStop) {
      return;
    }
  }
}

std::string Vcpu::describe_state() const {
  kvm_regs regs{};
  kvm_sregs sregs{};
  if (!kvm_ioctl(fd(), KVM_GET_REGS, "KVM_GET_REGS", &regs) ||
      !kvm_ioctl(fd(), KVM_GET_SREGS, "KVM_GET_SREGS", &sregs)) {
    return fmt::format("vCPU {}, registers not readable", number_);
  }
  std::array<std::byte, 32> code{};
  const std::size_t readable = read_code(regs, sregs, code);
  return fmt::format("vCPU {} at {}", number_,
                     describe_registers(regs, sregs, std::span(code).first(readable)));
}

std::size_t Vcpu::read_code(const kvm_regs& regs, const kvm_sregs& sregs, std::span<std::byte> into) const {
  constexpr std::uint64_t kPageBytes = 4096;
  std::size_t done = 0;
  while (done < into.size()) {  // once, or twice when the code crosses a page
    kvm_translation translation{};
    translation.linear_address = sregs.cs.base + regs.rip + done;
    if (!kvm_ioctl(fd(), KVM_TRANSLATE, "KVM_TRANSLATE", &translation) || translation.valid == 0) {
      break;
    }
    const std::uint64_t in_page = kPageBytes - translation.linear_address % kPageBytes;
    const auto piece = into.subspan(done, std::min<std::uint64_t>(in_page, into.size() - done));
    const std::size_t copied = vm_.read_memory(translation.physical_address, piece);
    done += copied;
    if (copied < piece.size()) {
      break;
    }
  }
  return done;
}

}  // namespace tapir::vmm
