// SPDX-License-Identifier: Apache-2.0
#include "vmm/kvm.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>

#include "vmm/platform.h"

namespace tapir::vmm {
namespace {

struct Need {
  long capability;
  const char* name;
};

// All of them are older than the oldest kernel that tapir is built for; a KVM without one of these is no x86
// KVM.
constexpr std::array kNeeds{
    Need{KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY"},
    Need{KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP"},
    Need{KVM_CAP_PIT2, "KVM_CAP_PIT2"},
    Need{KVM_CAP_SET_TSS_ADDR, "KVM_CAP_SET_TSS_ADDR"},
    Need{KVM_CAP_SET_IDENTITY_MAP_ADDR, "KVM_CAP_SET_IDENTITY_MAP_ADDR"},
    Need{KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID"},
    Need{KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE"},
    Need{KVM_CAP_IRQ_ROUTING, "KVM_CAP_IRQ_ROUTING"},
    Need{KVM_CAP_IRQFD, "KVM_CAP_IRQFD"},
    Need{KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD"},
    Need{KVM_CAP_IOEVENTFD_ANY_LENGTH, "KVM_CAP_IOEVENTFD_ANY_LENGTH"},
    Need{KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"},
};

constexpr mode_t kGroupReadWrite = S_IRGRP | S_IWGRP;

std::string cpu_flags_line() {
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  while (std::getline(file, line)) {
    if (line.rfind("flags", 0) == 0) {
      return line;
    }
  }
  return {};
}

std::string group_name(gid_t gid) {
  std::array<char, 4096> buffer{};
  group entry{};
  group* found = nullptr;
  if (::getgrgid_r(gid, &entry, buffer.data(), buffer.size(), &found) != 0 || found == nullptr) {
    return {};
  }
  return entry.gr_name;
}

tl::unexpected<Error> open_failure(const std::string& path, int code) {
  std::string text =
      fmt::format("cannot open {}: {}", path, std::strerror(code));  // NOLINT(concurrency-mt-unsafe)
  struct stat status {};
  if ((code == EACCES || code == EPERM) && ::stat(path.c_str(), &status) == 0) {
    text += "; " + permission_remedy(path, status, group_name(status.st_gid));
  } else if (code == ENOENT || code == ENXIO || code == ENODEV) {
    text += "; " + missing_device_remedy(cpu_flags_line());
  }
  return fail(std::move(text), code);
}

}  // namespace

Result<int> kvm_ioctl(int fd, unsigned long request, std::string_view name, std::uintptr_t argument) {
  int result = 0;
  do {
    result = ::ioctl(fd, request, argument);
  } while (result < 0 && errno == EINTR);
  if (result < 0) {
    return fail_errno(std::string(name));
  }
  return result;
}

std::string permission_remedy(const std::string& path, const struct stat& status, const std::string& group) {
  const bool group_may = (status.st_mode & kGroupReadWrite) == kGroupReadWrite;
  if (group_may && !group.empty() && status.st_gid != 0) {
    return fmt::format("it belongs to group {}: run \"sudo usermod -aG {} $USER\" and log in again", group,
                       group);
  }
  std::string cause = "its group gives no access";
  if (group_may) {
    // Nobody should join group root, and usermod wants a name.
    cause = group.empty()
                ? fmt::format("this user is not in its group {}, which has no name here", status.st_gid)
                : fmt::format("this user is not in its group {}", group);
  }
  // An ACL entry is the narrowest grant; chmod is what works where the acl tools are not installed.
  return fmt::format("{}: run \"sudo setfacl -m u:$USER:rw {}\" or \"sudo chmod 0666 {}\"", cause, path,
                     path);
}

std::string missing_device_remedy(std::string_view cpu_flags) {
  const std::string padded = fmt::format(" {} ", cpu_flags);
  if (padded.find(" vmx ") != std::string::npos) {
    return "load its module with \"sudo modprobe kvm_intel\"";
  }
  if (padded.find(" svm ") != std::string::npos) {
    return "load its module with \"sudo modprobe kvm_amd\"";
  }
  return "the processor shows neither VT-x nor AMD-V: enable virtualisation in the BIOS or, inside a virtual "
         "machine, "
         "nested virtualisation in the hypervisor below, then load module kvm_intel or kvm_amd";
}

Result<Kvm> Kvm::open(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!fd) {
    return open_failure(path, errno);
  }
  const auto version = kvm_ioctl(fd.get(), KVM_GET_API_VERSION, "KVM_GET_API_VERSION");
  if (!version) {
    return fail(fmt::format("{} is not KVM's device: {}", path, version.error().message()),
                version.error().code());
  }
  if (*version != KVM_API_VERSION) {
    return fail(fmt::format("{} speaks version {} of KVM's interface, tapir needs {}", path, *version,
                            KVM_API_VERSION));
  }
  TAPIR_TRY_ASSIGN(const int bytes, kvm_ioctl(fd.get(), KVM_GET_VCPU_MMAP_SIZE, "KVM_GET_VCPU_MMAP_SIZE"));
  Kvm kvm(std::move(fd), static_cast<std::size_t>(bytes));
  for (const Need& need : kNeeds) {
    if (kvm.capability(need.capability) == 0) {
      return fail(fmt::format("{} lacks {}, which tapir needs; a newer kernel has it", path, need.name));
    }
  }
  return kvm;
}

int Kvm::capability(long which) const {
  const auto answer =
      kvm_ioctl(fd(), KVM_CHECK_EXTENSION, "KVM_CHECK_EXTENSION", static_cast<std::uintptr_t>(which));
  return answer ? *answer : 0;
}

unsigned Kvm::max_cpus() const {
  // api.rst, 4.4 KVM_CHECK_EXTENSION: without KVM_CAP_MAX_VCPUS the recommended number holds, without that
  // one 4.
  for (const long which : {KVM_CAP_MAX_VCPUS, KVM_CAP_NR_VCPUS}) {
    if (const int count = capability(which); count > 0) {
      return static_cast<unsigned>(count);
    }
  }
  return 4;
}

Result<std::vector<kvm_cpuid_entry2>> Kvm::supported_cpuid() const {
  // The number of entries is not known before: E2BIG asks for more room.
  for (std::uint32_t entries = 128; entries <= 4096; entries *= 2) {
    KvmList<kvm_cpuid_entry2> list(entries);
    const auto done = kvm_ioctl(fd(), kGetSupportedCpuid, "KVM_GET_SUPPORTED_CPUID", list.data());
    if (!done && done.error().code() == E2BIG) {
      continue;
    }
    TAPIR_TRY(done);
    const auto found = list.entries();
    return std::vector<kvm_cpuid_entry2>(found.begin(), found.end());
  }
  return fail("KVM_GET_SUPPORTED_CPUID: more than 4096 entries", E2BIG);
}

Result<Vm> Vm::create(const Kvm& kvm, std::span<const virtio::GuestMemory::Region> memory) {
  auto created = kvm_ioctl(kvm.fd(), KVM_CREATE_VM, "KVM_CREATE_VM");
  if (!created && created.error().code() == EBUSY) {
    return fail(
        "KVM_CREATE_VM: Device or resource busy; another hypervisor (VirtualBox, VMware) uses the "
        "processor's "
        "virtualisation: stop its machines",
        EBUSY);
  }
  TAPIR_TRY(created);
  Vm vm(UniqueFd(*created), {memory.begin(), memory.end()});
  TAPIR_TRY(vm.set_up_platform());
  TAPIR_TRY(vm.set_memory_slots());
  return vm;
}

Status Vm::set_up_platform() const {
  // Both addresses before the first vCPU (api.rst, 4.41 KVM_SET_IDENTITY_MAP_ADDR); so are the controllers,
  // because a vCPU gets its LAPIC when it is created; the PIT after the controllers that it interrupts
  // through.
  std::uint64_t identity_map = platform::kIdentityMapBase;
  TAPIR_TRY(kvm_ioctl(fd(), KVM_SET_IDENTITY_MAP_ADDR, "KVM_SET_IDENTITY_MAP_ADDR", &identity_map));
  TAPIR_TRY(kvm_ioctl(fd(), KVM_SET_TSS_ADDR, "KVM_SET_TSS_ADDR", std::uintptr_t{platform::kTssBase}));
  TAPIR_TRY(kvm_ioctl(fd(), KVM_CREATE_IRQCHIP, "KVM_CREATE_IRQCHIP"));
  kvm_pit_config pit{};
  pit.flags = KVM_PIT_SPEAKER_DUMMY;  // port 0x61, which kernels use to calibrate the TSC
  TAPIR_TRY(kvm_ioctl(fd(), KVM_CREATE_PIT2, "KVM_CREATE_PIT2", &pit));
  return {};
}

Status Vm::set_memory_slots() const {
  std::uint32_t slot = 0;
  for (const auto& region : memory_) {
    kvm_userspace_memory_region setting{};
    setting.slot = slot++;
    setting.guest_phys_addr = virtio::to_integer(region.start);
    setting.memory_size = region.host.size();
    setting.userspace_addr = reinterpret_cast<std::uintptr_t>(region.host.data());
    TAPIR_TRY(kvm_ioctl(fd(), KVM_SET_USER_MEMORY_REGION, "KVM_SET_USER_MEMORY_REGION", &setting));
  }
  return {};
}

std::size_t Vm::read_memory(std::uint64_t address, std::span<std::byte> into) const {
  for (const auto& region : memory_) {
    const std::uint64_t start = virtio::to_integer(region.start);
    if (address >= start && address - start < region.host.size()) {
      const auto available = region.host.subspan(address - start);
      const std::size_t count = std::min(into.size(), available.size());
      std::memcpy(into.data(), available.data(), count);
      return count;
    }
  }
  return 0;
}

}  // namespace tapir::vmm
