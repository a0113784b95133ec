// SPDX-License-Identifier: Apache-2.0
#include "vmm/irqfd.h"

#include "net/base/check.h"

namespace tapir::vmm {

Result<Irqfd> Irqfd::create(const Vm& vm, unsigned gsi) {
  TAPIR_TRY_ASSIGN(EventFd event, EventFd::create());
  kvm_irqfd setting{};
  setting.fd = static_cast<std::uint32_t>(event.fd());
  setting.gsi = gsi;
  TAPIR_TRY(kvm_ioctl(vm.fd(), KVM_IRQFD, "KVM_IRQFD", &setting));
  return Irqfd(vm.fd(), gsi, std::move(event));
}

Irqfd::~Irqfd() {
  if (event_.fd() < 0) {
    return;
  }
  kvm_irqfd setting{};
  setting.fd = static_cast<std::uint32_t>(event_.fd());
  setting.gsi = gsi_;
  setting.flags = KVM_IRQFD_FLAG_DEASSIGN;
  CHECK(kvm_ioctl(vm_fd_, KVM_IRQFD, "KVM_IRQFD", &setting).has_value());
}

Result<std::unique_ptr<GsiInterrupt>> GsiInterrupt::create(const Vm& vm, unsigned gsi) {
  CHECK(gsi < platform::kIoApicPins);
  TAPIR_TRY_ASSIGN(Irqfd irqfd, Irqfd::create(vm, gsi));
  return std::unique_ptr<GsiInterrupt>(new GsiInterrupt(std::move(irqfd)));
}

Result<std::unique_ptr<MsiIrqfd>> MsiIrqfd::create(const Vm& vm, IrqRouting& routing) {
  TAPIR_TRY_ASSIGN(const unsigned gsi, routing.allocate_msi());
  auto irqfd = Irqfd::create(vm, gsi);
  if (!irqfd) {
    routing.release_msi(gsi);
    return tl::unexpected<Error>(std::move(irqfd).error());
  }
  return std::unique_ptr<MsiIrqfd>(new MsiIrqfd(routing, gsi, *std::move(irqfd)));
}

MsiIrqfd::~MsiIrqfd() {
  irqfd_.reset();
  routing_.release_msi(gsi_);
}

Status MsiIrqfd::set_message(const virtio::MsiMessage& message) {
  return routing_.set_message(gsi_, message);
}

class LevelLines::Source final : public virtio::LevelInterrupt {
 public:
  Source(LevelLines& lines, unsigned gsi) : lines_(lines), gsi_(gsi) {}
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;
  ~Source() override { set_level(false); }

  void set_level(bool asserted) override {
    const std::lock_guard lock(mutex_);
    if (asserted_ != asserted) {
      asserted_ = asserted;
      lines_.change(gsi_, asserted);
    }
  }

 private:
  LevelLines& lines_;
  const unsigned gsi_;
  std::mutex mutex_;
  bool asserted_ = false;
};

std::unique_ptr<virtio::LevelInterrupt> LevelLines::add_source(unsigned gsi) {
  CHECK(gsi < lines_.size());
  return std::make_unique<Source>(*this, gsi);
}

void LevelLines::change(unsigned gsi, bool asserted) {
  Line& line = lines_.at(gsi);
  const std::lock_guard lock(line.mutex);
  const bool before = line.asserted != 0;
  line.asserted = asserted ? line.asserted + 1 : line.asserted - 1;
  const bool now = line.asserted != 0;
  if (before == now) {
    return;
  }
  kvm_irq_level level{};
  level.irq = gsi;
  level.level = now ? 1 : 0;
  CHECK(kvm_ioctl(vm_fd_, KVM_IRQ_LINE, "KVM_IRQ_LINE", &level).has_value());
}

}  // namespace tapir::vmm
