# Profile limits of structured random effects: criteria refitted by glmmTMB with one parameter held, ML.
#
# Writes profile_structures.json beside it: for each parameter the estimate's criterion (-2 log-likelihood) and the two
# values at which the criterion, minimised over all others, is higher by the 0.95 quantile of chi-squared.
# Starts are near the optimum: from its own, glmmTMB ends at a worse one of sleepstudy's autoregression.
# R 4.2.2, glmmTMB 1.1.5.

suppressMessages({library(glmmTMB); library(jsonlite); library(nlme)})
cut <- qchisq(0.95, 1)
tight <- glmmTMBControl(optCtrl = list(iter.max = 1e4, eval.max = 1e4, rel.tol = 1e-13))
limits <- function(criterion, lowest, low, middle, high) {
  above <- function(x) criterion(x) - lowest - cut
  c(uniroot(above, c(low, middle), tol = 1e-8)$root, uniroot(above, c(middle, high), tol = 1e-8)$root)
}
out <- list()
keep <- function(case, parameter, lowest, found) {
  out[[length(out) + 1]] <<- list(case = case, parameter = parameter, criterion = lowest, lower = found[1],
                                  upper = found[2])
}
to_theta <- function(rho) rho / sqrt(1 - rho^2)

sleepstudy <- transform(lme4::sleepstudy, day = factor(Days))
sleep <- function(...) {
  fit <- suppressWarnings(glmmTMB(Reaction ~ Days + ar1(0 + day | Subject), sleepstudy, control = tight, ...))
  -2 * as.numeric(logLik(fit))
}
at <- function(sd = 45, rho = 0.87, sigma = 15) {
  list(beta = c(254, 10.4), theta = c(log(sd), to_theta(rho)), betad = 2 * log(sigma))
}
free <- sleep(start = at())
held <- function(sd) sleep(start = at(sd = sd), map = list(theta = factor(c(NA, 1))))
keep("ar1", "sd_ar1|Subject", free, limits(held, free, 30, 46, 75))
held <- function(rho) sleep(start = at(rho = rho), map = list(theta = factor(c(1, NA))))
keep("ar1", "cor_ar1|Subject", free, limits(held, free, 0.7, 0.87, 0.96))
held <- function(b) {
  moved <- transform(sleepstudy, Reaction = Reaction - b * Days)
  fit <- suppressWarnings(glmmTMB(Reaction ~ 1 + ar1(0 + day | Subject), moved, control = tight,
                                  start = within(at(), beta <- 254)))
  -2 * as.numeric(logLik(fit))
}
keep("ar1", "Days", free, limits(held, free, 6, 10.4, 15))

Machines <- as.data.frame(nlme::Machines)
Machines$Worker <- factor(as.character(Machines$Worker))
machines <- function(...) {
  fit <- suppressWarnings(glmmTMB(score ~ Machine + cs(0 + Machine | Worker), Machines, control = tight, ...))
  -2 * as.numeric(logLik(fit))
}
free <- machines()
held <- function(sd) {
  near <- list(beta = c(52.4, 8, 13.9), theta = c(log(sd), 1.83, 1.2, 0.94), betad = -0.06)
  machines(start = near, map = list(theta = factor(c(NA, 1:3))))
}
keep("cs", "sd_Machine[A]|Worker", free, limits(held, free, 2.1, 3.7, 9))

write_json(out, "profile_structures.json", digits = 12, auto_unbox = TRUE, pretty = TRUE)
