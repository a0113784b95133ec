// SPDX-License-Identifier: Apache-2.0
#include "vmm/ioeventfd.h"

#include "net/base/check.h"

namespace tapir::vmm {
namespace {

class Ioeventfd final : public virtio::Doorbell::Binding {
 public:
  Ioeventfd(int vm_fd, const kvm_ioeventfd& setting) : vm_fd_(vm_fd), setting_(setting) {}
  Ioeventfd(const Ioeventfd&) = delete;
  Ioeventfd& operator=(const Ioeventfd&) = delete;
  ~Ioeventfd() override {
    setting_.flags |= KVM_IOEVENTFD_FLAG_DEASSIGN;
    // Fails only when the eventfd was closed before its binding: a kick would then go to whatever took its
    // number.
    CHECK(kvm_ioctl(vm_fd_, KVM_IOEVENTFD, "KVM_IOEVENTFD", &setting_).has_value());
  }

 private:
  int vm_fd_;
  kvm_ioeventfd setting_;
};

}  // namespace

Result<std::unique_ptr<virtio::Doorbell::Binding>> IoeventfdDoorbell::bind(virtio::GuestAddress address,
                                                                           unsigned bytes,
                                                                           std::optional<std::uint64_t> value,
                                                                           int event_fd) {
  kvm_ioeventfd setting{};
  setting.addr = virtio::to_integer(address);
  setting.fd = event_fd;
  if (value) {
    setting.len = bytes;
    setting.datamatch = *value;
    setting.flags |= KVM_IOEVENTFD_FLAG_DATAMATCH;
  }
  // Without a value the length stays 0, "any width": KVM then need not even decode the instruction
  // (api.rst, 4.59 KVM_IOEVENTFD, KVM_CAP_IOEVENTFD_ANY_LENGTH).
  if (space_ == Space::kPorts) {
    setting.flags |= KVM_IOEVENTFD_FLAG_PIO;
  }
  TAPIR_TRY(kvm_ioctl(vm_fd_, KVM_IOEVENTFD, "KVM_IOEVENTFD", &setting));
  return std::make_unique<Ioeventfd>(vm_fd_, setting);
}

}  // namespace tapir::vmm
