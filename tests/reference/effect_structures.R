# Structured covariances of random effects by glmmTMB: -2 log-likelihood, sigma and fixed effects.
# Rscript effect_structures.R ../data effect_structures.json
arguments <- commandArgs(trailingOnly = TRUE)
suppressMessages({library(glmmTMB); library(jsonlite)})
read <- function(name) read.csv(file.path(arguments[1], paste0(name, ".csv")))
machines <- transform(read("Machines"), Worker = factor(Worker), Machine = factor(Machine))
orthodont <- transform(read("Orthodont"), Subject = factor(Subject), visit = factor(age))
orthodont <- orthodont[seq_len(nrow(orthodont)) %% 7 != 3, ]
oats <- transform(read("Oats"), Block = factor(Block), Variety = factor(Variety))
one <- function(formula, data, reml) {
  fit <- suppressWarnings(glmmTMB(formula, data, REML = reml, control = glmmTMBControl(
    optCtrl = list(iter.max = 5000, eval.max = 5000, rel.tol = 1e-14, x.tol = 1e-12))))
  list(minus2_loglik = -2 * as.numeric(logLik(fit)), sigma = sigma(fit), fixef = as.list(fixef(fit)$cond),
       std_errors = as.list(sqrt(diag(vcov(fit)$cond))), convergence = fit$fit$convergence,
       gradient = max(abs(fit$obj$gr(fit$fit$par))))
}
models <- list(
  machines_cs = list(score ~ Machine + cs(0 + Machine | Worker), machines),
  machines_ar1 = list(score ~ Machine + ar1(0 + Machine | Worker), machines),
  machines_diag = list(score ~ Machine + diag(0 + Machine | Worker), machines),
  machines_us = list(score ~ Machine + us(0 + Machine | Worker), machines),
  machines_toep = list(score ~ Machine + toep(0 + Machine | Worker), machines),
  machines_rr = list(score ~ Machine + rr(0 + Machine | Worker, d = 2), machines),
  machines_cs_coded = list(score ~ Machine + cs(Machine | Worker), machines),
  orthodont_ar1 = list(distance ~ age * Sex + ar1(0 + visit | Subject), orthodont),
  oats_cs = list(yield ~ nitro + (1 | Block) + cs(0 + Variety | Block), oats)
)
out <- list(versions = list(R = as.character(getRversion()), glmmTMB = as.character(packageVersion("glmmTMB"))))
for (name in names(models)) {
  m <- models[[name]]
  out[[name]] <- list(formula = paste(deparse(m[[1]], width.cutoff = 200), collapse = " "),
                      REML = one(m[[1]], m[[2]], TRUE), ML = one(m[[1]], m[[2]], FALSE))
}
write(toJSON(out, auto_unbox = TRUE, digits = 15, pretty = TRUE), arguments[2])
