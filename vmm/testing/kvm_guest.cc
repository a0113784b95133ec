// SPDX-License-Identifier: Apache-2.0
#include "vmm/testing/kvm_guest.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "net/base/check.h"
#include "vmm/cpuid.h"

namespace tapir::vmm::testing {

using virtio::GuestAddress;

void RecordingControl::end(EndReason reason, std::string detail, std::uint8_t /*guest_status*/) {
  const std::lock_guard lock(mutex_);
  if (!end_) {
    end_ = End{reason, std::move(detail)};
  }
  changed_.notify_all();
}

std::optional<RecordingControl::End> RecordingControl::wait() {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, kPatience, [this] { return end_.has_value(); });
  return end_;
}

void RecordingDevice::read(std::uint64_t /*offset*/, std::span<std::byte> into) {
  const std::lock_guard lock(mutex_);
  ++reads_;
  std::fill(into.begin(), into.end(), static_cast<std::byte>(0x11 * reads_));
}

void RecordingDevice::write(std::uint64_t offset, std::span<const std::byte> from) {
  const std::lock_guard lock(mutex_);
  Write write{offset, from.size(), 0};
  CHECK(from.size() <= sizeof write.value);
  std::memcpy(&write.value, from.data(), from.size());
  writes_.push_back(write);
  changed_.notify_all();
}

std::vector<RecordingDevice::Write> RecordingDevice::wait_for(std::size_t count) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, kPatience, [&] { return writes_.size() >= count; });
  return writes_;
}

Code& Code::bytes(std::initializer_list<unsigned> values) {
  for (const unsigned value : values) {
    code_.push_back(static_cast<std::byte>(value));
  }
  return *this;
}

Code& Code::word32(std::uint32_t value) {
  return bytes({value & 0xFF, (value >> 8) & 0xFF, (value >> 16) & 0xFF, value >> 24});
}

Code& Code::out8(std::uint16_t port, std::uint8_t value) {
  bytes({0x66, 0xBA, port & 0xFFU, static_cast<unsigned>(port >> 8)});  // mov dx, port
  return bytes({0xB0, value, 0xEE});                                    // mov al, value; out dx, al
}

Code& Code::store32(std::uint32_t address, std::uint32_t value) {
  return bytes({0xC7, 0x05}).word32(address).word32(value);  // mov dword [address], value
}

Result<std::unique_ptr<KvmGuest>> KvmGuest::create(unsigned cpus) {
  TAPIR_TRY_ASSIGN(Kvm kvm, Kvm::open());
  TAPIR_TRY_ASSIGN(virtio::GuestMemory memory, virtio::GuestMemory::create(4U << 20));
  TAPIR_TRY_ASSIGN(Vm vm, Vm::create(kvm, memory.regions()));
  std::unique_ptr<KvmGuest> guest(new KvmGuest(std::move(kvm), std::move(memory), std::move(vm)));
  TAPIR_TRY(guest->ports.add(kPort, 0x100, guest->port_device));
  TAPIR_TRY(guest->mmio.add(kDevice, 0x1000, guest->memory_device));
  guest->write_tables();
  TAPIR_TRY_ASSIGN(const CpuidTable cpuid, machine_cpuid(guest->kvm, CpuConfig{}));
  for (unsigned i = 0; i < cpus; ++i) {
    TAPIR_TRY_ASSIGN(auto vcpu, Vcpu::create(guest->kvm, guest->vm, i, vcpu_cpuid(cpuid, i, cpus),
                                             {guest->ports, guest->mmio, guest->control}));
    guest->vcpus.push_back(std::move(vcpu));
  }
  return guest;
}

KvmGuest::KvmGuest(Kvm host, virtio::GuestMemory ram, Vm machine)
    : kvm(std::move(host)), memory(std::move(ram)), vm(std::move(machine)) {}

void KvmGuest::load(std::uint64_t address, std::span<const std::byte> bytes) {
  CHECK(memory.write(GuestAddress{address}, bytes));
}

void KvmGuest::write_tables() {
  // 0x10 and 0x18: flat 32-bit code and data.
  const std::uint64_t gdt[] = {0, 0, 0x00CF'9B00'0000'FFFF, 0x00CF'9300'0000'FFFF};
  load(kGdt, std::as_bytes(std::span(gdt)));
  // The first 4 GiB, one to one, in pages of 2 MiB: present, writable, large.
  const std::uint64_t top = (kPageTables + 0x1000) | 3;
  load(kPageTables, std::as_bytes(std::span(&top, 1)));
  for (std::uint64_t gib = 0; gib < 4; ++gib) {
    const std::uint64_t directory = kPageTables + 0x2000 + gib * 0x1000;
    const std::uint64_t pointer = directory | 3;
    load(kPageTables + 0x1000 + gib * 8, std::as_bytes(std::span(&pointer, 1)));
    for (std::uint64_t page = 0; page < 512; ++page) {
      const std::uint64_t entry = (gib << 30) | (page << 21) | 0x83;
      load(directory + page * 8, std::as_bytes(std::span(&entry, 1)));
    }
  }
}

Status KvmGuest::run(const Code& code, boot::EntryState::Mode mode) {
  load(kCode, code.get());
  boot::EntryState entry;
  entry.mode = mode;
  entry.instruction_pointer = kCode;
  entry.page_tables = kPageTables;
  entry.gdt_base = kGdt;
  entry.gdt_limit = 31;
  entry.stack_pointer = kStack;
  TAPIR_TRY(vcpus.front()->set_entry(entry));
  for (auto& vcpu : vcpus) {
    TAPIR_TRY(vcpu->start());
  }
  return {};
}

void KvmGuest::stop() {
  for (auto& vcpu : vcpus) {
    vcpu->request_stop();
  }
  for (auto& vcpu : vcpus) {
    vcpu->join();
  }
}

std::optional<std::string> reason_to_skip() {
  const char* must_run = std::getenv("TAPIR_TESTS_MUST_RUN");  // NOLINT(concurrency-mt-unsafe)
  if (must_run != nullptr && std::string_view(must_run) == "1") {
    return std::nullopt;
  }
  const auto kvm = Kvm::open();
  return kvm ? std::nullopt : std::optional(kvm.error().message());
}

}  // namespace tapir::vmm::testing
