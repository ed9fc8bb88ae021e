# One measurement of inference in R: Rscript inference.R TASK DATA.csv FORMULA; prints the median seconds.
arguments <- commandArgs(trailingOnly = TRUE)
task <- arguments[1]
suppressMessages({library(lme4); library(lmerTest)})
data <- read.csv(arguments[2])
for (name in intersect(names(data), c("Subject", "s", "d", "dept", "service"))) data[[name]] <- factor(data[[name]])
formula <- as.formula(arguments[3])
timed <- switch(sub("_.*", "", task),
  # lmerTest works out the derivatives when the model is made: its conversion is part of the summary
  summary = {
    plain <- lme4::lmer(formula, data)
    function() capture.output(print(summary(lmerTest::as_lmerModLmerTest(plain))))
  },
  kr = {
    fit <- lmerTest::lmer(formula, data)
    function() coef(summary(fit, ddf = "Kenward-Roger"))
  },
  profile = {
    fit <- lme4::lmer(formula, data)
    function() suppressMessages(confint(fit, method = "profile"))
  },
  bootstrap = {
    fit <- lme4::lmer(formula, data)
    parameters <- function(f) c(fixef(f), as.data.frame(VarCorr(f))$sdcor)
    function() suppressMessages(bootMer(fit, parameters, nsim = 1000, seed = 1))
  },
  robust = {
    fit <- lme4::lmer(formula, data)
    suppressMessages(library(clubSandwich))
    function() coef_test(fit, vcov = "CR2", test = "Satterthwaite")
  }
)
seconds <- c()
while (length(seconds) == 0 || (sum(seconds) < 1 && length(seconds) < 20)) {
  began <- proc.time()[["elapsed"]]
  invisible(timed())
  seconds <- c(seconds, proc.time()[["elapsed"]] - began)
}
cat(median(seconds), "\n")
