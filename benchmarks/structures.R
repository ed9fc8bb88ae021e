# CPU seconds of gls or lme for each problem: Rscript structures.R FOLDER
suppressMessages(library(nlme))
folder <- commandArgs(TRUE)[1]
seconds <- function(work) {
  used <- system.time(fit <- work())
  format(c(sum(used[c("user.self", "sys.self")]), -2 * as.numeric(logLik(fit))), digits = 14, trim = TRUE)
}
tight <- glsControl(maxIter = 200, msMaxIter = 500, opt = "nlminb")
problems <- list(
  fev_us = function(d) gls(FEV1 ~ RACE + SEX + ARMCD * AVISIT, d, corSymm(form = ~ VISITN | USUBJID),
                           varIdent(form = ~ 1 | AVISIT), control = tight),
  us_200 = function(d) gls(y ~ arm * visit, d, corSymm(form = ~ v | id), varIdent(form = ~ 1 | visit), control = tight),
  ar1_10000 = function(d) gls(y ~ arm * visit, d, corAR1(form = ~ v | id), control = tight),
  ar1_100000 = function(d) gls(y ~ arm * visit, d, corAR1(form = ~ v | id), control = tight),
  ri_ar1_10000 = function(d) lme(y ~ arm * visit, d, ~ 1 | id, corAR1(form = ~ v | id)),
  car1_1000 = function(d) gls(y ~ x, d, corCAR1(0.5, form = ~ t | id), control = tight),
  car1_10000 = function(d) gls(y ~ x, d, corCAR1(0.5, form = ~ t | id), control = tight)
)
for (name in names(problems)) {
  file <- file.path(folder, paste0(name, ".csv"))
  if (!file.exists(file)) next
  d <- read.csv(file, stringsAsFactors = TRUE)
  cat(name, tryCatch(seconds(function() problems[[name]](d)), error = function(e) c(NA, NA)), "\n")
}
