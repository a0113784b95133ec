// SPDX-License-Identifier: Apache-2.0
#include "net/frame_io_factory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "net/base/event_fd.h"
#include "net/testing/engines.h"
#include "net/testing/frame_link.h"

namespace tapir::net {
namespace {

using net::testing::Frame;
using net::testing::FrameLink;
using net::testing::make_frame;
using net::testing::RecordingSink;
using net::testing::transmit_frames;
using ::testing::AllOf;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::SizeIs;

// What is done to it stays with the thread.
void in_a_thread_of_its_own(const std::function<void()>& body) {
  std::thread(body).join();
}

// From now on this system call of this thread fails: io_uring_setup(2), as in a container or under the
// sysctl, or another one.
void forbid_io_uring(int error, unsigned number = __NR_io_uring_setup) {
  std::array<sock_filter, 4> filter{{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<unsigned>(error)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  }};
  const sock_fprog program{filter.size(), filter.data()};
  ASSERT_EQ(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
  ASSERT_EQ(::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0), 0);
}

// The limit of locked memory does not count for whoever may lock memory.
void drop_memory_locking() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, 2> capabilities{};
  ASSERT_EQ(::syscall(SYS_capget, &header, capabilities.data()), 0);
  capabilities[0].effective &= ~(1U << CAP_IPC_LOCK);
  ASSERT_EQ(::syscall(SYS_capset, &header, capabilities.data()), 0);
}

// Frames go both ways.
void expect_moves_frames(FrameIo& io, FrameLink& link) {
  std::vector<Frame> frames;
  for (unsigned i = 0; i < 100; ++i) {
    frames.push_back(make_frame(60 + i, i));
    ASSERT_TRUE(link.send(frames.back()));
  }
  RecordingSink sink(1536, 60);
  EXPECT_EQ(io.receive(sink, {}), ReceiveEnd::kDrained);
  EXPECT_EQ(sink.received, frames);
  EXPECT_THAT(transmit_frames(io, frames), AllOf(SizeIs(100), Each(0)));
  for (const Frame& frame : frames) {
    EXPECT_EQ(link.receive(), frame);
  }
}

void expect_works(FrameIo& io, FrameLink& link) {
  ASSERT_TRUE(io.start());
  expect_moves_frames(io, link);
}

TEST(FrameIoFactory, KnowsTheEnginesByName) {
  EXPECT_EQ(parse_engine("auto"), EngineChoice::kAuto);
  EXPECT_EQ(parse_engine("uring"), EngineChoice::kUring);
  EXPECT_EQ(parse_engine("sync"), EngineChoice::kSync);
  EXPECT_EQ(parse_engine("io_uring"), std::nullopt);
  EXPECT_EQ(parse_engine(""), std::nullopt);
}

TEST(FrameIoFactory, TakesPlainSystemCallsWhereIoUringIsForbiddenOrMissing) {
  for (const int error : {EPERM, ENOSYS}) {
    in_a_thread_of_its_own([error] {
      forbid_io_uring(error);
      const auto link = net::testing::make_socket_link().value();
      const auto io = make_frame_io(link->take_port(), EngineChoice::kAuto).value();
      expect_works(*io, *link);
      EXPECT_EQ(io->counters().ring_calls.get(), 0U);
    });
  }
}

TEST(FrameIoFactory, TakesPlainSystemCallsWhereARingCanBeMadeAndNotUsed) {
  TAPIR_NEEDS_ENGINE(net::testing::kEngines[1]);
  for (const unsigned number : {unsigned{__NR_io_uring_enter}, unsigned{__NR_io_uring_register}}) {
    in_a_thread_of_its_own([number] {
      forbid_io_uring(EPERM, number);
      const auto link = net::testing::make_socket_link().value();
      const auto io = make_frame_io(link->take_port(), EngineChoice::kAuto).value();
      expect_works(*io, *link);
      EXPECT_EQ(io->counters().ring_calls.get(), 0U);
    });
  }
}

// Every place where the ring is used may be the first to hear of it.
TEST(FrameIoFactory, GoesOnWithPlainSystemCallsWhenTheRingIsForbiddenLater) {
  TAPIR_NEEDS_ENGINE(net::testing::kEngines[1]);
  const EventFd before = EventFd::create().value();
  const EventFd after = EventFd::create().value();
  for (const bool waits_first : {false, true}) {
    for (const int error : {EPERM, ENOSYS}) {
      in_a_thread_of_its_own([&] {
        const auto link = net::testing::make_socket_link().value();
        const auto io = make_frame_io(link->take_port(), EngineChoice::kAuto).value();
        const unsigned bit = io->watch(before.fd()).value();
        expect_works(*io, *link);
        EXPECT_GT(io->counters().ring_calls.get(), 0U);
        forbid_io_uring(error, __NR_io_uring_enter);
        if (waits_first) {
          EXPECT_EQ(io->wait(FrameIo::Clock::now()).watched, 0U);
        }
        expect_moves_frames(*io, *link);
        before.signal();
        EXPECT_EQ(io->wait(std::nullopt).watched, std::uint64_t{1} << bit);
        const unsigned other = io->watch(after.fd()).value();
        EXPECT_NE(other, bit);
        io->unwatch(bit);
        after.signal();
        EXPECT_EQ(io->wait(std::nullopt).watched, std::uint64_t{1} << other);
        io->want_receive(true);
        ASSERT_TRUE(link->send(make_frame(100, 1)));
        EXPECT_TRUE(io->wait(std::nullopt).receive);
        io->stop();
      });
    }
  }
}

TEST(FrameIoFactory, SaysWhyThereIsNoIoUring) {
  in_a_thread_of_its_own([] {
    forbid_io_uring(EPERM);
    const auto link = net::testing::make_socket_link().value();
    const auto io = make_frame_io(link->take_port(), EngineChoice::kUring);
    ASSERT_FALSE(io);
    EXPECT_EQ(io.error().code(), EPERM);
    EXPECT_THAT(io.error().message(),
                AllOf(HasSubstr("io=uring"), HasSubstr("kernel.io_uring_disabled"), HasSubstr("io=sync")));
  });
}

// The ring of some kernels counts, too, and then there is none.
TEST(FrameIoFactory, WorksWithoutAnyLockedMemory) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_MEMLOCK, &before), 0);
  const rlimit none{0, before.rlim_max};
  in_a_thread_of_its_own([&] {
    drop_memory_locking();
    ASSERT_EQ(::setrlimit(RLIMIT_MEMLOCK, &none), 0);
    const auto link = net::testing::make_socket_link().value();
    const auto io = make_frame_io(link->take_port(), EngineChoice::kAuto);
    ASSERT_TRUE(io) << io.error().message();
    expect_works(**io, *link);
  });
  EXPECT_EQ(::setrlimit(RLIMIT_MEMLOCK, &before), 0);
}

TEST(FrameIoFactory, WorksWithLittleLockedMemory) {
  TAPIR_NEEDS_ENGINE(net::testing::kEngines[1]);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_MEMLOCK, &before), 0);
  const rlimit little{rlim_t{192} * 1024, before.rlim_max};  // for the ring, and not for the arena
  in_a_thread_of_its_own([&] {
    drop_memory_locking();
    ASSERT_EQ(::setrlimit(RLIMIT_MEMLOCK, &little), 0);
    const auto link = net::testing::make_socket_link().value();
    const auto io = make_frame_io(link->take_port(), EngineChoice::kUring);
    ASSERT_TRUE(io) << io.error().message();
    expect_works(**io, *link);
    EXPECT_GT((*io)->counters().ring_calls.get(), 0U);
  });
  EXPECT_EQ(::setrlimit(RLIMIT_MEMLOCK, &before), 0);
}

TEST(FrameIoFactory, ABusyPollHearsOfFramesAndKeepsTheDeadline) {
  for (const auto& engine : net::testing::kEngines) {
    TAPIR_NEEDS_ENGINE(engine);
    const auto link = net::testing::make_socket_link().value();
    const auto io =
        make_frame_io(link->take_port(), engine.choice, {.busy_poll = std::chrono::microseconds(200)})
            .value();
    ASSERT_TRUE(io->start());
    io->want_receive(true);
    const auto deadline = FrameIo::Clock::now() + std::chrono::milliseconds(5);
    EXPECT_FALSE(io->wait(deadline).receive);
    EXPECT_GE(FrameIo::Clock::now(), deadline);
    ASSERT_TRUE(link->send(make_frame(100, 1)));
    EXPECT_TRUE(io->wait(std::nullopt).receive);
  }
}

}  // namespace
}  // namespace tapir::net
