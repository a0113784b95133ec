// SPDX-License-Identifier: Apache-2.0
#include "vmm/event_loop.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <thread>
#include <vector>

namespace tapir::vmm {
namespace {

using namespace std::chrono_literals;

class EventLoopTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto loop = EventLoop::create();
    ASSERT_TRUE(loop.has_value()) << loop.error().message();
    loop_ = *std::move(loop);
    auto limit = LoopTimer::create(*loop_, [this] {
      ADD_FAILURE() << "nothing stopped the loop";
      loop_->stop();
    });
    ASSERT_TRUE(limit.has_value());
    limit_ = *std::move(limit);
    limit_->start(30s);
  }

  EventFd event() {
    auto created = EventFd::create();
    EXPECT_TRUE(created.has_value());
    return *std::move(created);
  }

  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<LoopTimer> limit_;
};

TEST_F(EventLoopTest, CallsBackWhatIsReady) {
  const EventFd quiet = event();
  const EventFd loud = event();
  loud.signal();
  ASSERT_TRUE(loop_->add(quiet.fd(), EPOLLIN, [](auto) { ADD_FAILURE(); }).has_value());
  std::uint32_t seen = 0;
  ASSERT_TRUE(loop_
                  ->add(loud.fd(), EPOLLIN,
                        [&](std::uint32_t events) {
                          seen = events;
                          loop_->stop();
                        })
                  .has_value());
  ASSERT_TRUE(loop_->run().has_value());
  EXPECT_EQ(seen, static_cast<std::uint32_t>(EPOLLIN));
}

TEST_F(EventLoopTest, RepeatsUntilTheEventIsTaken) {
  const EventFd fd = event();
  fd.signal();
  int calls = 0;
  ASSERT_TRUE(loop_
                  ->add(fd.fd(), EPOLLIN,
                        [&](auto) {
                          if (++calls == 3) {
                            loop_->stop();
                          }
                        })
                  .has_value());
  ASSERT_TRUE(loop_->run().has_value());
  EXPECT_EQ(calls, 3);
}

TEST_F(EventLoopTest, StopsFromAnotherThreadAndRunsAgain) {
  for (int i = 0; i < 2; ++i) {
    std::thread other([this] { loop_->stop(); });
    EXPECT_TRUE(loop_->run().has_value());
    other.join();
  }
}

TEST_F(EventLoopTest, AStopBeforeRunCounts) {
  loop_->stop();
  EXPECT_TRUE(loop_->run().has_value());
}

TEST_F(EventLoopTest, DoesNotCallAWatchThatAnotherCallbackRemoved) {
  const EventFd first = event();
  const EventFd second = event();
  first.signal();
  second.signal();
  int calls = 0;
  const auto callback = [&](int other) {
    return [&, other](std::uint32_t) {
      ++calls;
      loop_->remove(other);
      loop_->stop();
    };
  };
  ASSERT_TRUE(loop_->add(first.fd(), EPOLLIN, callback(second.fd())).has_value());
  ASSERT_TRUE(loop_->add(second.fd(), EPOLLIN, callback(first.fd())).has_value());
  ASSERT_TRUE(loop_->run().has_value());
  EXPECT_EQ(calls, 1);
}

TEST_F(EventLoopTest, DoesNotGiveAnOldEventToANewWatchOfTheSameDescriptor) {
  std::vector<EventFd> events;
  for (int i = 0; i < 3; ++i) {
    events.push_back(event());
    events.back().signal();
  }
  // Whichever is called first replaces all the others, whose events were found in the same wait.
  bool replaced = false;
  for (const EventFd& watched : events) {
    ASSERT_TRUE(loop_
                    ->add(watched.fd(), EPOLLIN,
                          [&, fd = watched.fd()](std::uint32_t) {
                            EXPECT_FALSE(replaced);
                            replaced = true;
                            for (const EventFd& other : events) {
                              if (other.fd() != fd) {
                                loop_->remove(other.fd());
                                other.clear();
                                EXPECT_TRUE(
                                    loop_->add(other.fd(), EPOLLIN, [](auto) { ADD_FAILURE(); }).has_value());
                              }
                            }
                            loop_->remove(fd);
                          })
                    .has_value());
  }
  auto done = LoopTimer::create(*loop_, [this] { loop_->stop(); });
  ASSERT_TRUE(done.has_value());
  (*done)->start(20ms);
  ASSERT_TRUE(loop_->run().has_value());
  EXPECT_TRUE(replaced);
}

TEST_F(EventLoopTest, ACallbackMayRemoveItself) {
  const EventFd fd = event();
  fd.signal();
  std::vector<int> owned{1, 2, 3};
  ASSERT_TRUE(loop_
                  ->add(fd.fd(), EPOLLIN,
                        [&, owned](std::uint32_t) {
                          loop_->remove(fd.fd());
                          EXPECT_EQ(owned.size(), 3U) << "what the callback holds lives until it returns";
                          loop_->stop();
                        })
                  .has_value());
  ASSERT_TRUE(loop_->run().has_value());
}

TEST_F(EventLoopTest, RefusesASecondWatchOfADescriptor) {
  const EventFd fd = event();
  ASSERT_TRUE(loop_->add(fd.fd(), EPOLLIN, [](auto) {}).has_value());
  EXPECT_FALSE(loop_->add(fd.fd(), EPOLLIN, [](auto) {}).has_value());
  EXPECT_FALSE(loop_->add(-1, EPOLLIN, [](auto) {}).has_value());
  EXPECT_FALSE(loop_->modify(12345, EPOLLIN).has_value());
  loop_->remove(12345);
}

TEST_F(EventLoopTest, ModifyPausesAndResumes) {
  std::array<int, 2> pair{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()), 0);
  const UniqueFd left(pair[0]);
  const UniqueFd right(pair[1]);
  std::uint32_t seen = 0;
  ASSERT_TRUE(loop_
                  ->add(left.get(), 0,
                        [&](std::uint32_t events) {
                          seen = events;
                          loop_->stop();
                        })
                  .has_value());
  auto later =
      LoopTimer::create(*loop_, [&] { ASSERT_TRUE(loop_->modify(left.get(), EPOLLOUT).has_value()); });
  ASSERT_TRUE(later.has_value());
  (*later)->start(5ms);
  ASSERT_EQ(::write(right.get(), "x", 1), 1);
  ASSERT_TRUE(loop_->run().has_value());
  EXPECT_EQ(seen, static_cast<std::uint32_t>(EPOLLOUT));
}

TEST_F(EventLoopTest, TakesDevNullForAlwaysReady) {
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  int calls = 0;
  ASSERT_TRUE(loop_
                  ->add(null.get(), EPOLLIN,
                        [&](std::uint32_t events) {
                          EXPECT_EQ(events, static_cast<std::uint32_t>(EPOLLIN));
                          if (++calls == 2) {
                            EXPECT_TRUE(loop_->modify(null.get(), 0).has_value());
                          }
                        })
                  .has_value());
  auto done = LoopTimer::create(*loop_, [this] { loop_->stop(); });
  ASSERT_TRUE(done.has_value());
  (*done)->start(20ms);
  ASSERT_TRUE(loop_->run().has_value());
  EXPECT_EQ(calls, 2);
}

TEST_F(EventLoopTest, TimersRepeatAndCancel) {
  int calls = 0;
  std::unique_ptr<LoopTimer> timer;
  auto created = LoopTimer::create(*loop_, [&] {
    if (++calls == 3) {
      timer->cancel();
      loop_->stop();
    }
  });
  ASSERT_TRUE(created.has_value());
  timer = *std::move(created);
  timer->start(0ns, 1ms);
  ASSERT_TRUE(loop_->run().has_value());
  EXPECT_EQ(calls, 3);
}

// SIG-01: a signal is read from a descriptor; no code runs in a handler.
TEST_F(EventLoopTest, TakesSignalsAsEvents) {
  std::vector<int> seen;
  const std::array numbers{SIGTERM, SIGHUP, SIGCONT};
  auto watch = SignalWatch::create(*loop_, numbers, [&](int number) {
    seen.push_back(number);
    if (seen.size() == 2) {
      loop_->stop();
    }
  });
  ASSERT_TRUE(watch.has_value());
  ASSERT_EQ(::kill(::getpid(), SIGTERM), 0);
  ASSERT_EQ(::kill(::getpid(), SIGHUP), 0);
  ASSERT_TRUE(loop_->run().has_value());
  EXPECT_THAT(seen, ::testing::UnorderedElementsAre(SIGTERM, SIGHUP));
}

}  // namespace
}  // namespace tapir::vmm
