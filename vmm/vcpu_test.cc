// SPDX-License-Identifier: Apache-2.0
#include "vmm/vcpu.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "vmm/testing/kvm_guest.h"

namespace tapir::vmm {
namespace {

using boot::EntryState;
using testing::Code;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::KvmGuest;
using Write = testing::RecordingDevice::Write;

class VcpuTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const auto reason = testing::reason_to_skip()) {
      GTEST_SKIP() << *reason;
    }
    make(1);
  }

  void make(unsigned cpus) {
    guest_.reset();
    auto guest = KvmGuest::create(cpus);
    ASSERT_TRUE(guest.has_value()) << guest.error().message();
    guest_ = *std::move(guest);
  }

  void run(const Code& code, EntryState::Mode mode = EntryState::Mode::kProtected) {
    const auto started = guest_->run(code, mode);
    ASSERT_TRUE(started.has_value()) << started.error().message();
  }

  std::unique_ptr<KvmGuest> guest_;
};

TEST_F(VcpuTest, PassesPortAccessesOfEveryWidthToTheBus) {
  run(Code()
          .bytes({0x66, 0xBA, 0x00, 0x05})  // mov dx, 0x500
          .bytes({0xB8})
          .word32(0x1234'5678)              // mov eax, 0x12345678
          .bytes({0xEE, 0x66, 0xEF, 0xEF})  // out dx, al; out dx, ax; out dx, eax
          .bytes({0xED, 0xEF})              // in eax, dx; out dx, eax
          .spin());
  EXPECT_THAT(guest_->port_device.wait_for(4),
              ElementsAre(Write{0, 1, 0x78}, Write{0, 2, 0x5678}, Write{0, 4, 0x1234'5678},
                          Write{0, 4, 0x1111'1111}));
}

TEST_F(VcpuTest, PassesEveryItemOfAStringInstruction) {
  const std::byte text[] = {std::byte{'t'}, std::byte{'a'}, std::byte{'p'}, std::byte{'i'}, std::byte{'r'}};
  guest_->load(0x3'0000, text);
  run(Code()
          .bytes({0x66, 0xBA, 0x08, 0x05})  // mov dx, 0x508
          .bytes({0xBE})
          .word32(0x3'0000)  // mov esi, text
          .bytes({0xB9})
          .word32(5)                  // mov ecx, 5
          .bytes({0xFC, 0xF3, 0x6E})  // cld; rep outsb
          .bytes({0xBF})
          .word32(0x3'1000)  // mov edi, buffer
          .bytes({0xB9})
          .word32(2)            // mov ecx, 2
          .bytes({0xF3, 0x6C})  // rep insb
          .bytes({0xA1})
          .word32(0x3'1000)  // mov eax, [buffer]
          .bytes({0xEF})     // out dx, eax
          .spin());
  EXPECT_THAT(guest_->port_device.wait_for(6),
              ElementsAre(Write{8, 1, 't'}, Write{8, 1, 'a'}, Write{8, 1, 'p'}, Write{8, 1, 'i'},
                          Write{8, 1, 'r'}, Write{8, 4, 0x2211}));
}

TEST_F(VcpuTest, PassesMemoryAccessesToTheBus) {
  const auto device = static_cast<std::uint32_t>(KvmGuest::kDevice);
  run(Code()
          .store32(device + 0x10, 0xCAFE'F00D)
          .bytes({0xA1})
          .word32(device)  // mov eax, [device]
          .bytes({0xA2})
          .word32(device + 0x20)  // mov [device + 0x20], al
          .bytes({0xA1})
          .word32(0xD000'0000)  // mov eax, [nothing there]
          .bytes({0xA3})
          .word32(device)  // mov [device], eax
          .spin());
  EXPECT_THAT(guest_->memory_device.wait_for(3),
              ElementsAre(Write{0x10, 4, 0xCAFE'F00D}, Write{0x20, 1, 0x11}, Write{0, 4, 0xFFFF'FFFF}));
}

TEST_F(VcpuTest, StartsAKernelInLongModeWithItsBootData) {
  guest_->load(KvmGuest::kCode, Code()
                                    .bytes({0x48, 0xB8})
                                    .word32(0x89AB'CDEF)
                                    .word32(0x0123'4567)  // mov rax, imm64
                                    .bytes({0x48, 0xA3})
                                    .word32(0xE100'0008)
                                    .word32(0)                  // mov [moffs], rax
                                    .bytes({0x48, 0x89, 0xF0})  // mov rax, rsi
                                    .bytes({0x48, 0xA3})
                                    .word32(0xE100'0010)
                                    .word32(0)
                                    .spin()
                                    .get());
  EntryState entry;
  entry.instruction_pointer = KvmGuest::kCode;
  entry.boot_data = 0x9'0000;
  entry.page_tables = KvmGuest::kPageTables;
  entry.gdt_base = KvmGuest::kGdt;
  entry.gdt_limit = 31;
  entry.stack_pointer = KvmGuest::kStack;
  ASSERT_TRUE(guest_->vcpus[0]->set_entry(entry).has_value());
  ASSERT_TRUE(guest_->vcpus[0]->start().has_value());
  EXPECT_THAT(guest_->memory_device.wait_for(2),
              ElementsAre(Write{8, 8, 0x0123'4567'89AB'CDEF}, Write{0x10, 8, 0x9'0000}));
}

TEST_F(VcpuTest, ReportsATripleFault) {
  run(Code().bytes({0x0F, 0x0B}));  // ud2, without an IDT
  const auto end = guest_->control.wait();
  ASSERT_TRUE(end.has_value());
  EXPECT_EQ(end->reason, EndReason::kTripleFault) << end->detail;
  guest_->stop();
}

TEST_F(VcpuTest, DescribesAnInternalErrorWithRegistersAndCode) {
  // The code goes on where no memory is: an instruction that KVM cannot fetch.
  run(Code().bytes({0xB8}).word32(0x600D'CAFE).bytes({0xBB}).word32(0xD000'0000).bytes({0xFF, 0xE3}));  // jmp
                                                                                                        // ebx
  const auto end = guest_->control.wait();
  ASSERT_TRUE(end.has_value());
  EXPECT_EQ(end->reason, EndReason::kInternalError);
  EXPECT_THAT(end->detail, HasSubstr("KVM internal error, suberror"));
  EXPECT_THAT(end->detail, HasSubstr("vCPU 0 at RIP=0xd0000000"));
  EXPECT_THAT(end->detail, HasSubstr("RAX=0x600dcafe"));
  EXPECT_THAT(end->detail, HasSubstr("code: not readable"));
}

TEST_F(VcpuTest, StopsWhileTheGuestSpins) {
  run(Code().out8(KvmGuest::kPort, 1).bytes({0xFA}).spin());  // cli; spin
  ASSERT_EQ(guest_->port_device.wait_for(1).size(), 1U);
  guest_->stop();
}

TEST_F(VcpuTest, StopsWhileTheGuestHaltsForEver) {
  run(Code().out8(KvmGuest::kPort, 1).bytes({0xFA, 0xF4}).spin());  // cli; hlt
  ASSERT_EQ(guest_->port_device.wait_for(1).size(), 1U);
  guest_->stop();
}

TEST_F(VcpuTest, StopsAtAnyMomentWithoutALostWakeUp) {
  for (int i = 0; i < 100; ++i) {
    make(1);
    run(Code().spin());
    guest_->stop();
  }
}

TEST_F(VcpuTest, EndsAtOnceWhenAskedToStopBeforeItsStart) {
  guest_->vcpus[0]->request_stop();
  run(Code().spin());
  guest_->vcpus[0]->join();
}

TEST_F(VcpuTest, MayBeAskedToStopWhileOthersAreStartedAndJoined) {
  for (int i = 0; i < 20; ++i) {
    make(8);
    std::thread stopper([this] {
      for (auto& vcpu : guest_->vcpus) {
        vcpu->request_stop();
      }
    });
    run(Code().spin());
    guest_->stop();
    stopper.join();
  }
}

TEST_F(VcpuTest, MayBeDestroyedWithoutEverRunning) {
  guest_.reset();
}

TEST_F(VcpuTest, NamesItsThread) {
  run(Code().out8(KvmGuest::kPort, 1).spin());
  ASSERT_EQ(guest_->port_device.wait_for(1).size(), 1U);
  bool found = false;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream file(task.path() / "comm");
    std::string name;
    found = found || (std::getline(file, name) && name == "vcpu0");
  }
  EXPECT_TRUE(found);
}

TEST_F(VcpuTest, StartsASecondProcessorInRealModeWithAStartUpIpi) {
  make(2);
  // Vector 0x40: 16-bit code at 0x40000. mov dx, 0x501; mov al, 0x42; out dx, al; spin
  guest_->load(0x4'0000, Code().bytes({0xBA, 0x01, 0x05, 0xB0, 0x42, 0xEE}).spin().get());
  run(Code()
          .store32(0xFEE0'00F0, 0x1FF)        // LAPIC on
          .store32(0xFEE0'0310, 1U << 24)     // to APIC id 1
          .store32(0xFEE0'0300, 0x0000'4500)  // INIT
          .store32(0xFEE0'0310, 1U << 24)
          .store32(0xFEE0'0300, 0x0000'4640)  // SIPI, vector 0x40
          .spin());
  EXPECT_THAT(guest_->port_device.wait_for(1), ElementsAre(Write{1, 1, 0x42}));
}

TEST_F(VcpuTest, RunsSixtyFourOfThem) {
  make(64);
  run(Code().out8(KvmGuest::kPort, 64).spin());
  EXPECT_THAT(guest_->port_device.wait_for(1), ElementsAre(Write{0, 1, 64}));
  guest_->stop();
}

TEST_F(VcpuTest, GivesTheBootProcessorVirtualWireModeAndMtrrs) {
  make(2);
  kvm_lapic_state lapic{};
  ASSERT_TRUE(kvm_ioctl(guest_->vcpus[0]->fd(), KVM_GET_LAPIC, "KVM_GET_LAPIC", &lapic).has_value());
  const auto lvt = [&lapic](std::size_t offset) {
    std::uint32_t value = 0;
    std::memcpy(&value, lapic.regs + offset, sizeof value);
    return value;
  };
  EXPECT_EQ(lvt(0x350) & 0x1'0700, 0x700U);
  EXPECT_EQ(lvt(0x360) & 0x1'0700, 0x400U);
  for (const auto& vcpu : guest_->vcpus) {
    KvmList<kvm_msr_entry> msrs(2);
    msrs.entries()[0].index = 0x2FF;
    msrs.entries()[1].index = 0x1A0;
    ASSERT_EQ(*kvm_ioctl(vcpu->fd(), kGetMsrs, "KVM_GET_MSRS", msrs.data()), 2);
    EXPECT_EQ(msrs.entries()[0].data, 0x806U);
    EXPECT_EQ(msrs.entries()[1].data & 1, 1U);
  }
  kvm_mp_state state{};
  ASSERT_TRUE(kvm_ioctl(guest_->vcpus[1]->fd(), KVM_GET_MP_STATE, "KVM_GET_MP_STATE", &state).has_value());
  EXPECT_EQ(state.mp_state, static_cast<unsigned>(KVM_MP_STATE_UNINITIALIZED));
}

}  // namespace
}  // namespace tapir::vmm
