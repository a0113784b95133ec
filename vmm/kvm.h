// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/base/result.h"
#include "net/base/unique_fd.h"
#include "virtio/guest_memory.h"

namespace tapir::vmm {

/// ioctl(2) on a descriptor of KVM's; again after EINTR. `argument` is a pointer or a number, as the request
/// says. Returns what the call returned; the error reads "KVM_SET_REGS: Invalid argument". Not for KVM_RUN,
/// which gives EINTR a meaning.
[[nodiscard]] Result<int> kvm_ioctl(int fd, unsigned long request, std::string_view name,
                                    std::uintptr_t argument = 0);

template <typename T>
[[nodiscard]] Result<int> kvm_ioctl(int fd, unsigned long request, std::string_view name, T* argument) {
  return kvm_ioctl(fd, request, name, reinterpret_cast<std::uintptr_t>(argument));
}

/// The argument of the ioctls that take a number of entries behind a header: kvm_cpuid2, kvm_msrs,
/// kvm_irq_routing. All zero at first but the count.
///
/// Those structures are not used themselves, because compiled as C++ the kernel's macro for their flexible
/// array makes them larger than they are in C (an empty structure has a size there), and with them the
/// requests, which encode that size. The requests below are what they are in C. Bytes, because the compiler
/// may take two structures for unrelated.
template <typename Entry>
class KvmList {
 public:
  explicit KvmList(std::size_t entries) : bytes_(sizeof(Header) + entries * sizeof(Entry)) {
    static_assert(alignof(Entry) <= alignof(std::max_align_t) && sizeof(Header) % alignof(Entry) == 0);
    header().count = static_cast<std::uint32_t>(entries);
  }
  std::byte* data() { return bytes_.data(); }
  /// Of the entries there is room for, those that KVM filled.
  std::span<Entry> entries() {
    const std::size_t room = (bytes_.size() - sizeof(Header)) / sizeof(Entry);
    return {reinterpret_cast<Entry*>(bytes_.data() + sizeof(Header)),
            std::min<std::size_t>(header().count, room)};
  }

 private:
  struct Header {
    std::uint32_t count;
    std::uint32_t flags;
  };
  Header& header() { return *reinterpret_cast<Header*>(bytes_.data()); }

  std::vector<std::byte> bytes_;
};

inline constexpr unsigned long kGetSupportedCpuid = _IOWR(KVMIO, 0x05, std::uint64_t);
inline constexpr unsigned long kSetGsiRouting = _IOW(KVMIO, 0x6A, std::uint64_t);
inline constexpr unsigned long kGetMsrs = _IOWR(KVMIO, 0x88, std::uint64_t);
inline constexpr unsigned long kSetMsrs = _IOW(KVMIO, 0x89, std::uint64_t);
inline constexpr unsigned long kSetCpuid2 = _IOW(KVMIO, 0x90, std::uint64_t);

/// The host's KVM: /dev/kvm, opened and found to be able to run a machine of ours. Outlives every Vm; one for
/// the whole run, also across reboots of the guest. Thread-compatible.
class Kvm {
 public:
  /// Error: no such device, no permission (names the group of the device or the command that grants access),
  /// not KVM's stable interface, or a capability that tapir needs is missing. `path` is for tests.
  [[nodiscard]] static Result<Kvm> open(const std::string& path = "/dev/kvm");

  int fd() const { return fd_.get(); }
  /// KVM_CHECK_EXTENSION: 0 when KVM lacks it, else 1 or the number that the capability counts.
  int capability(long which) const;
  /// How many vCPUs one machine may have on this host.
  unsigned max_cpus() const;
  /// Bytes to map of a vCPU's descriptor.
  std::size_t vcpu_mapping_bytes() const { return vcpu_mapping_bytes_; }
  /// What a guest may be shown on this host (KVM_GET_SUPPORTED_CPUID).
  [[nodiscard]] Result<std::vector<kvm_cpuid_entry2>> supported_cpuid() const;

 private:
  Kvm(UniqueFd fd, std::size_t vcpu_mapping_bytes)
      : fd_(std::move(fd)), vcpu_mapping_bytes_(vcpu_mapping_bytes) {}

  UniqueFd fd_;
  std::size_t vcpu_mapping_bytes_;
};

/// What the operator can do about EACCES on `path`: the end of a sentence, with a command to paste. `group`
/// is the name of the owning group, empty when it has none.
std::string permission_remedy(const std::string& path, const struct stat& status, const std::string& group);

/// What the operator can do when there is no /dev/kvm; `cpu_flags` is the "flags" line of /proc/cpuinfo.
std::string missing_device_remedy(std::string_view cpu_flags);

/// One virtual machine of KVM's: guest memory, interrupt controllers (PIC, IOAPIC, one LAPIC for each vCPU)
/// and PIT in the kernel. Made anew on every reboot of the guest, which is what brings all of that to its
/// power-on state.
///
/// Everything that hangs on it (vCPUs, ioeventfds, irqfds, routing) borrows fd() and is destroyed first; the
/// guest memory outlives it. Thread-compatible; KVM itself locks.
class Vm {
 public:
  /// `memory`: the guest's RAM, borrowed. Error: the host refuses (another hypervisor holds the processor, no
  /// memory for it).
  [[nodiscard]] static Result<Vm> create(const Kvm& kvm, std::span<const virtio::GuestMemory::Region> memory);

  int fd() const { return fd_.get(); }
  /// Copies guest-physical memory, for diagnostics: as many bytes from `address` on as are RAM, at most all
  /// of `into`.
  std::size_t read_memory(std::uint64_t address, std::span<std::byte> into) const;

 private:
  Vm(UniqueFd fd, std::vector<virtio::GuestMemory::Region> memory)
      : fd_(std::move(fd)), memory_(std::move(memory)) {}

  Status set_up_platform() const;
  Status set_memory_slots() const;

  UniqueFd fd_;
  std::vector<virtio::GuestMemory::Region> memory_;
};

}  // namespace tapir::vmm
